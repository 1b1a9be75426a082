// Refreshes what changes, and says when it no longer can. All of the page is
// made by the server, and is readable without this.
"use strict";

const INTERVAL = 2000;
const STALE = 10000;
const live = document.getElementById("live");
const freshness = document.getElementById("freshness");
let seen = Date.now();
let said = "";

// Said only when it changes: who listens to the page hears each of these.
function say(text, stale) {
  document.body.classList.toggle("stale", stale);
  if (text !== said) {
    freshness.textContent = said = text;
  }
}

async function refresh() {
  try {
    const answer = await fetch("/", {
      signal: AbortSignal.timeout(STALE), cache: "no-store",
    });
    if (!answer.ok) {
      throw new Error(String(answer.status));
    }
    const page = new DOMParser().parseFromString(
      await answer.text(), "text/html");
    live.replaceChildren(...page.getElementById("live").childNodes);
    seen = Date.now();
    say(live.querySelector("[data-verdict]").dataset.verdict, false);
  } catch {
    if (Date.now() - seen >= STALE) {
      const at = new Date(seen).toISOString().slice(0, 19) + "Z";
      say("Stale: this was so at " + at + ", and no answer has come since.",
        true);
    }
  }
  setTimeout(refresh, INTERVAL);
}

refresh();
