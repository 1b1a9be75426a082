"""ec2map-sync template."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ec2map_sync.cli.base import (
    NOT_IN_ORDER,
    Arguments,
    BadArgument,
    Parser,
    Rows,
    add_dry_run,
)
from ec2map_sync.cli.files import written
from ec2map_sync.cli.regional import RegionLister
from ec2map_sync.operate import templates
from ec2map_sync.operate.templates import OK, Meanings
from ec2map_sync.outages import OUTAGES
from ec2map_sync.rules.templates import Template

COLUMNS = ("file", "line", "column", "id", "image", "verdict")


class CheckTemplates(RegionLister):
    """Check which images the EC2 ids in templates mean, here and elsewhere.

    Any text will do: CloudFormation, Heat, Terraform, Ansible, Packer. Every
    ami-, aki- and ari- id of eight digits is looked up here, and peers are
    asked whether it means the same image there. Other verdicts than "ok"
    tell of an id that is unknown, that an image had before it moved, of
    another kind than its image, or made by Nova, which no other region
    shares; and of a peer that did not answer, "not asked". Ids of AWS
    (seventeen digits) are left alone.

    --fix writes copies into another directory, with the ids that images have
    now in the place of old ones; the files themselves are never written.
    Exit code 1 if an id in the files is not in order, 2 if a file cannot be
    read or a peer or sink did not answer.

    Example: ec2map-sync template check /etc/heat/web.yaml
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument(
            "files", metavar="FILE", nargs="+", type=Path, help="a template"
        )
        parser.add_argument(
            "--fix",
            metavar="DIR",
            type=Path,
            help="write copies with new ids into this directory",
        )
        add_dry_run(parser, "which copies --fix would write")

    def take_action(self, parsed_args: Arguments) -> Rows:
        """Checks."""
        paths: list[Path] = list(dict.fromkeys(parsed_args.files))
        copies = copies_of(paths, parsed_args.fix) if parsed_args.fix else {}
        texts = dict(self._texts(paths))
        meanings = self._meanings(texts)
        for path, copy in copies.items():
            if path in texts:
                dry_run = parsed_args.dry_run
                self._copy(path, copy, texts[path], meanings, dry_run)
        if any(meaning.verdict != OK for meaning in meanings.values()):
            self.exit_code = max(self.exit_code, NOT_IN_ORDER)
        return COLUMNS, list(_rows(texts, meanings))

    def _texts(self, paths: Sequence[Path]) -> Iterator[tuple[Path, Template]]:
        for path in paths:
            try:
                text = Template.read(path.read_bytes())
            except OSError as error:
                self.refuse(f"{path}: {error.strerror}")
                continue
            if text is None:
                self.refuse(f"{path} is no text: left out")
                continue
            if of_aws := text.of_aws():
                self.note(f"{path}: {of_aws} ids of AWS are left alone")
            if miscounted := text.miscounted():
                self.note(
                    f"{path}: {miscounted} words look like ids, but have "
                    "other than eight digits: left alone"
                )
            yield path, text

    def _meanings(self, texts: Mapping[Path, Template]) -> Meanings:
        """Looks up all ids at once, here and in the other regions."""
        ids = {m.ec2_id for text in texts.values() for m in text.mentions()}
        if not ids:
            return {}
        region = self.region
        view = templates.TemplateView(region.ledger, region.sinks, ids)
        for sink in view.silent:
            self.refuse(f"{sink} does not answer: what it holds is not known")
        meanings = view.meanings()
        for peer in region.peers():
            if not any(m.verdict == OK for m in meanings.values()):
                break  # nothing to ask about
            try:
                with region.asker(peer) as asker:
                    meanings = templates.compared(
                        region.ledger, asker, peer.name, meanings
                    )
            except OUTAGES as error:
                self.refuse(f"{peer.name}: {self.explain(error)}")
                meanings = templates.unasked(meanings, peer.name)
        return meanings

    def _copy(
        self,
        path: Path,
        copy: Path,
        text: Template,
        meanings: Meanings,
        dry_run: bool,
    ) -> None:
        new = {i: m.new for i, m in meanings.items() if m.new}
        count = sum(1 for mention in text.mentions() if mention.ec2_id in new)
        said = "would be written" if dry_run else "was written"
        if not dry_run:
            copy.parent.mkdir(parents=True, exist_ok=True)
            with written(copy, self.app.stdout) as put:
                put(text.replaced(new))
            shutil.copymode(path, copy)
        self.note(f"{copy} {said}, with {count} ids changed")


def copies_of(paths: Sequence[Path], directory: Path) -> dict[Path, Path]:
    """Returns where copies go: below the directory, as they lie together.

    :raises BadArgument: a copy would take the place of a file that is given.
    """
    places = {path: Path(os.path.abspath(path)) for path in paths}
    top = Path(os.path.commonpath([p.parent for p in places.values()]))
    copies = {p: directory / at.relative_to(top) for p, at in places.items()}
    for copy in copies.values():
        for path in paths:
            if copy.exists() and path.exists() and copy.samefile(path):
                raise BadArgument(
                    f"--fix {directory}: {path} itself would be overwritten; "
                    "name another directory"
                )
    return copies


def _rows(
    texts: Mapping[Path, Template], meanings: Meanings
) -> Iterator[tuple[object, ...]]:
    for path, text in texts.items():
        for mention in text.mentions():
            meaning = meanings[mention.ec2_id]
            yield (
                str(path),
                mention.line,
                mention.column,
                mention.ec2_id,
                meaning.image,
                meaning.verdict,
            )
