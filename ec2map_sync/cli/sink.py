"""ec2map-sync sink."""

from pathlib import Path

from ec2map_sync.cli.base import Arguments, Parser
from ec2map_sync.cli.files import written
from ec2map_sync.cli.progress import progress
from ec2map_sync.cli.regional import RegionCommand
from ec2map_sync.operate import transfer


class ExportSink(RegionCommand):
    """Write all rows of a sink to a file, for 'rehearse'.

    JSON lines, by their numbers; the first line says what it is, the last
    is a checksum. Nothing is locked meanwhile. As FILE, - is standard
    output.

    Example: ec2map-sync sink export nova:cell1 /var/backups/cell1.jsonl
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument(
            "name", metavar="NAME", help="the sink, such as nova:cell1"
        )
        parser.add_argument(
            "file", metavar="FILE", type=Path, help="where the rows go"
        )

    def take_action(self, parsed_args: Arguments) -> None:
        """Exports."""
        sink = self.region.sink(parsed_args.name)
        with (
            written(parsed_args.file, self.app.stdout) as put,
            progress("rows", None) as advance,
        ):
            count = transfer.export_sink(
                sink, self.config.region, self.config.scheme, put, advance
            )
        self.note(f"{count} rows were written")
