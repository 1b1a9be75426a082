"""What makes the Debian package knows the tree as it is."""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "debian"
UNIT = ROOT / "etc/systemd/ec2map-sync-agent.service"


def lines(name: str) -> list[list[str]]:
    return [line.split() for line in (DEBIAN / name).read_text().splitlines()]


def set_in_unit(name: str) -> str:
    return re.search(rf"^{name}=(\S+)", UNIT.read_text(), re.MULTILINE)[1]


def test_its_unit_is_that_of_the_tree():
    (unit,) = DEBIAN.glob("*.service")

    assert unit.resolve() == UNIT
    assert unit.name == f"ec2map-sync.{UNIT.name}"
    assert f"--name={UNIT.stem} " in (DEBIAN / "rules").read_text()


def test_every_program_is_on_the_path():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"].split("\n")
    programs = {line.split()[0] for line in scripts if line}

    links = {Path(there).name: here for here, there in lines("links")}

    assert links.keys() == programs
    assert all(Path(here).name == name for name, here in links.items())
    assert set_in_unit("ExecStart").removeprefix("/usr/bin/") in programs


def test_its_user_is_the_units():
    user = set_in_unit("User")

    assert set_in_unit("Group") == user
    assert (
        f" --home /var/lib/{user} {user}\n"
        in (DEBIAN / "postinst").read_text()
    )
    assert (
        f"deluser --system --quiet {user}\n" in (DEBIAN / "postrm").read_text()
    )


def test_it_has_the_directories_of_the_unit():
    state = f"/var/lib/{set_in_unit('StateDirectory')}"
    configured = Path(UNIT.read_text().split("--config-file ")[1].split()[0])

    made = (DEBIAN / "postinst").read_text()
    removed = (DEBIAN / "postrm").read_text()

    assert f" {state}\n" in made
    assert f" {configured.parent}\n" in made
    assert f"rm -rf {configured.parent} {state}\n" in removed


def test_what_it_installs_is_there():
    (sample, place), *others = lines("install")

    assert not others
    assert place == "etc/ec2map-sync"
    for (path,) in [[sample], *lines("examples")]:
        assert (ROOT / path).exists()
