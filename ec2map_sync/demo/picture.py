"""How the demonstration looks: a live picture, or plain lines."""

import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ec2map_sync.demo.scene import Delays, Ending, Screen, View

INTRODUCTION = (
    "Each region has its own Glance and Nova. Without help, Nova numbers an "
    "image when it is first booted, so the EC2 id of one image differs from "
    "region to region. ec2map-sync hears of an image from Glance, derives "
    "the number from its UUID, and writes it into every region's Nova first."
)
NEXT = (
    "Next, in a region of your own: ec2map-sync config from-glance "
    "/etc/glance/glance-api.conf prints what fits its Glance; the "
    "documentation's quick start links two regions."
)
ID_WIDTH = len("ami-00000000")
HISTORY_WIDTH = 34
FRAMES = 8
"""Pictures in a second."""


def screen(stdout: TextIO) -> Screen:
    """Chooses: a picture for a terminal, lines for everything else."""
    if stdout.isatty():
        console = Console(file=stdout)
        if not console.is_dumb_terminal:
            return Picture(console)
    return Lines(stdout)


def result(ending: Ending) -> str:
    """Says the comparison in one line."""
    comparison, count = ending.comparison, len(ending.regions)
    if ending.is_good:
        return (
            f"All {comparison.images} images have one EC2 id in all {count} "
            f"regions. Without ec2map-sync, {ending.agree_alone} of "
            f"{comparison.images} would."
        )
    faults = [
        ending.trouble,
        f"Only {comparison.agree} of {comparison.images} images have one EC2 "
        f"id in all {count} regions.",
        _examples(
            "Without a row", [f"{i} in {r}" for r, i in comparison.missing]
        ),
        _examples("With different ids", comparison.differing),
        _examples("Of nobody", [f"{i} in {r}" for r, i in comparison.foreign]),
    ]
    return " ".join(fault for fault in faults if fault)


def _examples(what: str, cases: Sequence[str]) -> str:
    return f"{what}: {len(cases)}, such as {cases[0]}." if cases else ""


def copies(ending: Ending) -> str:
    """Says what the copies have found."""
    return (
        f"{ending.ready} of {ending.copies} copies found their row in place "
        "when Glance announced them."
    )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def _delay_cells(delays: Delays) -> tuple[str, ...]:
    cells = [delays.region]
    for one in (delays.own, delays.remote):
        cells += [_ms(one.p50), _ms(one.worst)] if one else ["-", "-"]
    return tuple(cells)


DELAY_HEADS = ("region", "own p50", "own max", "remote p50", "remote max")


class Lines:
    """Plain lines, for a file or a pipe: ASCII, nothing moves."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout
        self._began = time.monotonic()

    @contextmanager
    def watch(self, look: Callable[[], View]) -> Iterator[None]:
        """Shows the regions once, when the story is over."""
        self._out(INTRODUCTION)
        yield
        self._out("")
        heads = ("region", "in Glance", "in ledger", "in Nova")
        self._table(
            heads,
            [
                (r.name, str(r.seen), str(r.claims), str(r.rows))
                for r in look().regions
            ],
        )

    def part(self, title: str) -> None:
        """Begins a part."""
        self._out(f"\nPart {title}")

    def say(self, text: str) -> None:
        """Adds a line, and when."""
        self._out(f"[{time.monotonic() - self._began:4.1f} s] {text}")

    def end(self, ending: Ending) -> None:
        """Prints the tables and the comparison."""
        names = ending.regions
        self._out("\nEC2 ids, as Nova's cells answer them, and without it:")
        self._table(
            ("image", *names, *(f"{n} without" for n in names), "history"),
            [(s.image, *s.ids, *s.alone, s.story) for s in ending.samples],
        )
        self._out(
            "\nFrom image.create to the row in Nova, while nothing was cut:"
        )
        self._table(DELAY_HEADS, [_delay_cells(d) for d in ending.delays])
        self._out(f"\n{copies(ending)}\n{result(ending)}\n\n{NEXT}")

    def _table(
        self, heads: Sequence[str], rows: Sequence[Sequence[str]]
    ) -> None:
        widths = [
            max(map(len, column)) for column in zip(heads, *rows, strict=True)
        ]
        for row in (heads, *rows):
            cells = map(str.ljust, row, widths)
            self._out("  " + "  ".join(cells).rstrip())

    def _out(self, text: str) -> None:
        self._stdout.write(f"{text}\n")
        self._stdout.flush()


class Picture:
    """A table that lives at the bottom, and lines that pass above it."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def watch(self, look: Callable[[], View]) -> Iterator[None]:
        """Shows the regions, several times a second."""
        text = textwrap.fill(INTRODUCTION, min(self._console.width, 79))
        self._console.print(text, style="dim", highlight=False)
        with Live(
            get_renderable=lambda: self._frame(look()),
            console=self._console,
            refresh_per_second=FRAMES,
        ):
            yield

    def part(self, title: str) -> None:
        """Begins a part."""
        self._console.print(f"\n{title}", style="bold", highlight=False)

    def say(self, text: str) -> None:
        """Adds a line above the picture."""
        self._console.print(Padding(Text(text), (0, 0, 0, 2)))

    def end(self, ending: Ending) -> None:
        """Shows the tables and the comparison."""
        for table in self._samples(ending):
            self._console.print(table)
        self._console.print(_delays(ending))
        self._console.print(f"  {copies(ending)}", highlight=False)
        style = "bold green" if ending.is_good else "bold red"
        said = Text(result(ending), style)
        self._console.print(Panel(said, border_style=style))
        self._console.print(NEXT, style="dim", highlight=False)

    def _frame(self, view: View) -> RenderableType:
        table = Table(expand=True, box=None, padding=(0, 1))
        table.add_column("region", style="bold")
        for head in ("in Glance", "in ledger", "in Nova"):
            table.add_column(head, justify="right")
        table.add_column("last row after", justify="right")
        table.add_column("hears and is heard by")
        for region in view.regions:
            links = Text()
            for name in region.linked:
                links.append(f"{name}  ", "green")
            for name in region.cut:
                links.append(f"({name} cut off)  ", "bold red")
            table.add_row(
                region.name,
                str(region.seen),
                str(region.claims),
                str(region.rows),
                "" if region.delay is None else _ms(region.delay),
                links,
            )
        progress = Table.grid(padding=(0, 1), expand=True)
        progress.add_column(no_wrap=True)
        progress.add_column(ratio=1)
        progress.add_row(
            Text(f" {view.done} of {view.total} images", "dim"),
            ProgressBar(view.total, view.done),
        )
        return Panel(Group(table, progress), title=view.title)

    def _samples(self, ending: Ending) -> list[Table]:
        """Returns the table of ids; two, where one would be too wide."""
        names, samples = ending.regions, ending.samples
        alone = [f"{name}\nwithout" for name in names]
        both = _ids(
            "EC2 ids, as every region's Nova answers them, and without it",
            [*names, *alone, "history"],
            [(s.image, *s.ids, *s.alone, s.story) for s in samples],
        )
        if _width(both, self._console) <= self._console.width:
            return [both]
        return [
            _ids(
                "EC2 ids, as every region's Nova answers them",
                [*names, "history"],
                [(s.image, *s.ids, s.story) for s in samples],
            ),
            _ids(
                "What Nova would have answered without it",
                names,
                [(s.image, *s.alone) for s in samples],
            ),
        ]


def _width(table: Table, console: Console) -> int:
    """Returns how much room a table needs if nothing is folded."""
    wide = console.options.update(max_width=1000)
    return console.measure(table, options=wide).maximum


def _ids(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]
) -> Table:
    table = Table(title=title)
    table.add_column("image", no_wrap=True)
    for head in heads:
        if head == "history":
            table.add_column(head, max_width=HISTORY_WIDTH)
        else:
            style = "dim" if "without" in head else "green"
            table.add_column(head, style=style, min_width=ID_WIDTH)
    for row in rows:
        table.add_row(*row)
    return table


def _delays(ending: Ending) -> Table:
    table = Table(
        title="From image.create to the row in Nova, while nothing was cut"
    )
    for head in DELAY_HEADS:
        right = head != DELAY_HEADS[0]
        table.add_column(head, justify="right" if right else "left")
    for delays in ending.delays:
        table.add_row(*_delay_cells(delays))
    return table
