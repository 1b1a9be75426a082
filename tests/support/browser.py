"""Chromium, as Debian has it, without a screen."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from servers import find_program

QUIET = (
    "--headless",
    "--no-sandbox",  # tests may be root's
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1100,1500",
)


class Browser:
    """A browser that looks at pages."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def texts(self, css: str) -> list[str]:
        """Give the texts that stand where a selector leads."""
        script = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".map(e => e.innerText)"
        )
        found: list[str] = self.driver.execute_script(script, css)
        return found

    def console(self) -> list[str]:
        """Give what the console has had to complain about."""
        log: Any = self.driver.get_log  # which has no types
        entries: list[dict[str, Any]] = log("browser")
        return [str(entry["message"]) for entry in entries]

    def nodes(self) -> list[tuple[str, str]]:
        """Give role and name of all that assistive technology is told."""
        tree = self.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})
        return [
            (
                str(node["role"]["value"]),
                str(node.get("name", {}).get("value", "")).strip(),
            )
            for node in tree["nodes"]
            if not node["ignored"]
        ]

    def prefer(self, scheme: str) -> None:
        """Prefer light or dark pages."""
        media = {
            "features": [{"name": "prefers-color-scheme", "value": scheme}]
        }
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


@contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """Run a browser whose profile lies in an empty directory."""
    options = webdriver.ChromeOptions()
    options.binary_location = find_program("chromium", "chromium")
    for flag in (*QUIET, f"--user-data-dir={directory}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(find_program("chromedriver", "chromium-driver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
