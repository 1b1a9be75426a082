"""Draws the pages' pictures; each can be made anew, and is the same then.

python doc/pictures.py          # the drawings
python doc/pictures.py --demo   # and the recording of a demonstration
"""

import argparse
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

PICTURES = Path(__file__).parent / "source/pictures"

STYLE = """
  text { font: 13px sans-serif; fill: #1f2328; text-anchor: middle }
  .small { font-size: 11px; fill: #59636e }
  .left { text-anchor: start }
  .room { fill: #f6f8fa; stroke: #d1d9e0 }
  .box { fill: #ffffff; stroke: #59636e }
  .ours { fill: #ddf4ff; stroke: #0969da }
  .won { fill: #dafbe1; stroke: #1a7f37 }
  .arrow { stroke: #59636e; fill: none; marker-end: url(#head) }
  .told { stroke: #0969da; fill: none; marker-end: url(#head) }
  .tip { fill: #59636e }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .small { fill: #9198a1 }
    .room { fill: #151b23; stroke: #3d444d }
    .box { fill: #0d1117; stroke: #9198a1 }
    .ours { fill: #121d2f; stroke: #4493f8 }
    .won { fill: #12261e; stroke: #3fb950 }
    .arrow { stroke: #9198a1 }
    .told { stroke: #4493f8 }
    .tip { fill: #9198a1 }
  }
"""


@dataclass(frozen=True, slots=True)
class Box:
    """A box with a name and a line below it."""

    x: int
    y: int
    name: str
    small: str = ""
    kind: str = "box"
    width: int = 130
    height: int = 44

    @property
    def left(self) -> tuple[int, int]:
        """The middle of its left side."""
        return self.x, self.y + self.height // 2

    @property
    def right(self) -> tuple[int, int]:
        """The middle of its right side."""
        return self.x + self.width, self.y + self.height // 2

    @property
    def top(self) -> tuple[int, int]:
        """The middle of its upper side."""
        return self.x + self.width // 2, self.y

    @property
    def bottom(self) -> tuple[int, int]:
        """The middle of its lower side."""
        return self.x + self.width // 2, self.y + self.height

    def drawn(self) -> str:
        """Draw it."""
        middle = self.x + self.width // 2
        down = 27 if not self.small else 19
        lines = [
            f'<rect class="{self.kind}" x="{self.x}" y="{self.y}" rx="4" '
            f'width="{self.width}" height="{self.height}"/>',
            text(middle, self.y + down, self.name),
        ]
        if self.small:
            lines.append(text(middle, self.y + 35, self.small, "small"))
        return "\n".join(lines)


def text(x: int, y: int, words: str, kind: str = "") -> str:
    """Write a line, its middle or its beginning at a place."""
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x}" y="{y}">{escape(words)}</text>'


def room(x: int, y: int, width: int, height: int, name: str) -> str:
    """Draw what boxes stand in."""
    return (
        f'<rect class="room" x="{x}" y="{y}" rx="8" width="{width}" '
        f'height="{height}"/>\n' + text(x + width // 2, y + 22, name)
    )


def arrow(*points: tuple[int, int], kind: str = "arrow") -> str:
    """Draw an arrow through some points."""
    line = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline class="{kind}" points="{line}"/>'


def svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """Put a picture together."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
            f'viewBox="0 0 {width} {height}" width="{width}">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" '
            'markerWidth="7" markerHeight="7" orient="auto-start-reverse">'
            '<path class="tip" d="M0 0 L8 4 L0 8 z"/></marker></defs>',
            *parts,
            "</svg>",
            "",
        ]
    )


def flow() -> str:
    """Show how an image's id comes into every cell of two regions."""
    glance = Box(40, 50, "Glance", "image.create")
    broker = Box(40, 130, "RabbitMQ", "Glance's notifications")
    listener = Box(40, 210, "Listener", kind="ours")
    ledger = Box(40, 290, "ledger", "claims, numbers", kind="ours")
    writer = Box(40, 370, "Writer", kind="ours")
    cells = Box(40, 450, "Nova's cells", "s3_images")
    publisher = Box(210, 290, "Publisher", kind="ours")
    bus = Box(210, 210, "RabbitMQ", "the bus of this region")
    answerer = Box(210, 370, "Answerer", "what peers miss", kind="ours")
    follower = Box(450, 210, "Follower", kind="ours")
    theirs = Box(450, 290, "ledger", "the same claims", kind="ours")
    writes = Box(450, 370, "Writer", kind="ours")
    rows = Box(450, 450, "Nova's cells", "the same numbers")
    boxes = (glance, broker, listener, ledger, writer, cells, publisher)
    boxes += (bus, answerer, follower, theirs, writes, rows)
    return svg(
        620,
        530,
        "An image is claimed in its region, and has its row in the cells of "
        "all regions",
        [
            room(20, 10, 340, 505, "RegionOne"),
            room(430, 10, 170, 505, "RegionTwo"),
            *(box.drawn() for box in boxes),
            arrow(glance.bottom, broker.top),
            arrow(broker.bottom, listener.top),
            arrow(listener.bottom, ledger.top),
            arrow(ledger.bottom, writer.top),
            arrow(writer.bottom, cells.top),
            arrow(ledger.right, publisher.left),
            arrow(publisher.top, bus.bottom),
            arrow(ledger.right, (190, 312), (190, 392), answerer.left),
            arrow(bus.right, follower.left, kind="told"),
            text(395, 224, "signed", "small"),
            arrow(follower.bottom, theirs.top),
            arrow(theirs.bottom, writes.top),
            arrow(writes.bottom, rows.top),
            arrow(answerer.right, (395, 392), (395, 245), (450, 245)),
        ],
    )


def collision() -> str:
    """Show how two images that want one number are settled."""
    parts = []
    for x, first in ((20, "A, then B"), (330, "B, then A")):
        parts.append(room(x, 10, 290, 250, f"A region that hears {first}"))
        a = Box(x + 15, 50, "image A", "claimed at 10:00", "box", 120)
        b = Box(x + 155, 50, "image B", "claimed at 10:01", "box", 120)
        one = Box(x + 15, 130, "ami-2d988442", "A was first", "won", 120)
        two = Box(x + 155, 130, "ami-16c5f0a7", "B's next number", "won", 120)
        parts += [box.drawn() for box in (a, b, one, two)]
        parts += [arrow(a.bottom, one.top), arrow(b.bottom, two.top)]
        parts.append(arrow((x + 185, 94), (x + 115, 128), kind="told"))
        said = "B asks first for A's number, is passed, and goes on"
        if first.startswith("B"):
            said = "B had it until A was heard of: a move, recorded"
        parts.append(text(x + 145, 205, said, "small"))
        parts.append(text(x + 145, 235, "the same mapping"))
    return svg(
        640,
        270,
        "Two images want one number: the earlier claim has it, in whatever "
        "order a region hears of them",
        parts,
    )


DRAWINGS: dict[str, Callable[[], str]] = {
    "flow.svg": flow,
    "collision.svg": collision,
}


def demonstration() -> str:
    """Run a demonstration, and show what it leaves on the screen."""
    from rich.console import Console  # noqa: PLC0415, slow

    from ec2map_sync.demo.picture import Picture  # noqa: PLC0415
    from ec2map_sync.demo.run import run  # noqa: PLC0415

    class Still(Picture):
        """The picture without the table that lives below it."""

        @contextmanager
        def watch(self, _look: object) -> Iterator[None]:
            yield

    console = Console(
        record=True, width=124, file=io.StringIO(), force_terminal=True
    )
    console.print("$ ec2map-sync demo", style="bold", highlight=False)
    screen = Still(console)
    screen.end(run(3, 200, screen))
    drawn = console.export_svg(title="ec2map-sync demo")
    # Nothing is fetched from elsewhere.
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL) + "\n"


def main() -> int:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", action="store_true")
    options = parser.parse_args()
    drawings = DRAWINGS | ({"demo.svg": demonstration} if options.demo else {})
    for name, draw in drawings.items():
        (PICTURES / name).write_text(draw())
        print(PICTURES / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
