"""The fleet page: regions, services, sinks and moves, as HTML.

All of it is made here, so that it can be read without scripts; the page's own
script only asks for it again.
"""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

from ec2map_sync.api.answers import (
    ExplanationAnswer,
    LineAnswer,
    PeerAnswer,
    RegionsAnswer,
    StatusAnswer,
)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""Content-Security-Policy: nothing from elsewhere, and nothing inline."""

STATIC = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""Files beside the page, and what they are."""

_COLOURS = {
    "agrees": "good",
    "differs": "soon",
    "late": "soon",
    "silent": "bad",
    "never heard": "bad",
}
_SHORT = len("2026-01-01T00:00:00")


def static(name: str) -> bytes:
    """Reads a file beside the page."""
    return (files("ec2map_sync.api") / "static" / name).read_bytes()


def page(
    regions: RegionsAnswer,
    status: StatusAnswer,
    *,
    name: str = "",
    found: ExplanationAnswer | str | None = None,
) -> str:
    """Writes the page; ``found`` is what there is to say of ``name``."""
    template = Template(static("page.html").decode())
    return template.substitute(
        region=escape(regions.seen_from),
        name=escape(name),
        found=_found(found),
        live="\n".join([_matrix(regions), _lines(status), _moves(status)]),
    )


def _matrix(answer: RegionsAnswer) -> str:
    names = [region.name for region in answer.regions]
    told = {
        region.name: {peer.name: peer for peer in region.peers}
        for region in answer.regions
    }
    names += sorted({n for some in told.values() for n in some} - set(names))
    rows = []
    for name in names:
        cells = [
            '<td class="none">itself</td>'
            if name == other
            else _cell(told.get(name, {}).get(other))
            for other in names
        ]
        head = f'<th scope="row">{escape(name)}</th>'
        rows.append(f"<tr>{head}{''.join(cells)}</tr>")
    return _table(
        "Who agrees with whom",
        "Each row is how one region sees the others, as of "
        f"{_time(answer.at)}.",
        ["Region", *names],
        rows,
    )


def _cell(peer: PeerAnswer | None) -> str:
    if peer is None:
        return '<td class="none">not told</td>'
    said = [f"until {_time(peer.agrees_until)}"] if peer.agrees_until else []
    if peer.lag:
        said.append(f"{peer.lag} claims apart")
    if peer.trouble:
        said.append(peer.trouble)
    colour = _COLOURS.get(peer.state, "none")
    details = "".join(f"<small>{escape(one)}</small>" for one in said)
    return f'<td class="{colour}">{escape(peer.state)}{details}</td>'


def _lines(status: StatusAnswer) -> str:
    verdict = "All is well."
    if amiss := [line for line in status.lines if not line.healthy]:
        names = ", ".join(f"{line.what} {line.name}" for line in amiss)
        verdict = f"{len(amiss)} to look at: {names}."
    table = _table(
        "Services, sinks, quarantine",
        "What 'ec2map-sync status' shows.",
        ["What", "Name", "State", "Lag", "Seconds", "Last error"],
        map(_line, status.lines),
    )
    text = escape(verdict)
    return f'<p data-verdict="{text}"><strong>{text}</strong></p>\n{table}'


def _line(line: LineAnswer) -> str:
    colour = "good" if line.healthy else "bad"
    state = line.state if line.healthy else f"{line.state}: look at it"
    age = None if line.lag_seconds is None else round(line.lag_seconds, 1)
    return (
        f'<tr><td>{escape(line.what)}</td><th scope="row">'
        f'{escape(line.name)}</th><td class="{colour}">{escape(state)}</td>'
        + "".join(map(_plain, (line.lag, age, line.last_error)))
        + "</tr>"
    )


def _moves(status: StatusAnswer) -> str:
    if not status.moves:
        return "<h2>Moves of the last week</h2>\n<p>None.</p>"
    rows = [
        "<tr>"
        + "".join(map(_plain, (_time(m.at), m.image, m.old, m.new, m.cause)))
        + "</tr>"
        for m in status.moves
    ]
    return _table(
        "Moves of the last week",
        "Images whose id has changed.",
        ["When", "Image", "From", "To", "Because of"],
        rows,
    )


def _found(found: ExplanationAnswer | str | None) -> str:
    if found is None:
        return ""
    if isinstance(found, str):
        return f'<p id="found" role="status">{escape(found)}</p>'
    image = found.image
    rows = [
        f'<tr><th scope="row">{escape(step.what)}</th>'
        f"{_plain(step.detail)}</tr>"
        for step in found.steps
    ]
    table = _table(
        f"{image.image} is {image.ec2_id or 'without an id'}",
        "What 'ec2map-sync explain' shows.",
        ["What", "Detail"],
        rows,
    )
    return f'<section id="found">{table}</section>'


def _table(
    title: str, caption: str, heads: Sequence[str], rows: Iterable[str]
) -> str:
    columns = "".join(f'<th scope="col">{escape(h)}</th>' for h in heads)
    # Wide ones are scrolled, also with the keyboard.
    return (
        f'<h2>{escape(title)}</h2>\n<div class="wide" tabindex="0" '
        f'role="region" aria-label="{escape(title)}">\n<table>\n'
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{columns}</tr>"
        f"</thead>\n<tbody>\n{chr(10).join(rows)}\n</tbody>\n</table></div>"
    )


def _plain(value: object) -> str:
    return f"<td>{'' if value is None else escape(str(value))}</td>"


def _time(text: str | None) -> str:
    return f"{text[:_SHORT]}Z" if text else "never"
