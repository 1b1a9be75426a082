"""Configuration files that others may read."""

import pytest

from ec2map_sync.settings.files import open_to_others
from ec2map_sync.settings.loading import load

PASSWORDS = (
    "[ledger]\nconnection = mysql+pymysql://nova:secret@db/ledger\n",
    "[DEFAULT]\ntransport_url = rabbit://nova:secret@broker/\n",
    "[ec2_ids]\nhash_key = secret\n",
    "[glance]\nauth_type = password\npassword = secret\n",
)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
@pytest.mark.parametrize("text", PASSWORDS)
def test_a_file_with_a_password_is_named_if_others_may_use_it(
    tmp_path, text, mode
):
    path = tmp_path / "one.conf"
    path.write_text(text)
    path.chmod(mode)

    assert open_to_others(load([], files=[str(path)]).conf) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_not_if_only_its_owner_or_a_group_may(tmp_path, mode):
    path = tmp_path / "one.conf"
    path.write_text(PASSWORDS[0])
    path.chmod(mode)

    assert open_to_others(load([], files=[str(path)]).conf) == []


def test_nor_if_there_is_nothing_in_it_to_hide(tmp_path):
    path = tmp_path / "one.conf"
    path.write_text(
        "[ledger]\nconnection = sqlite:////var/lib/ledger\n"
        "[DEFAULT]\ntransport_url = rabbit://[2001:db8::1]:5672/\n"
        "[nova]\n# password = example\n"
    )

    assert open_to_others(load([], files=[str(path)]).conf) == []


def test_those_of_a_directory_are_looked_at_too(tmp_path):
    main, more = tmp_path / "main.conf", tmp_path / "conf.d" / "more.conf"
    more.parent.mkdir()
    main.write_text("[DEFAULT]\nregion = RegionOne\n")
    more.write_text(PASSWORDS[0])

    arguments = ["--config-file", str(main), "--config-dir", str(more.parent)]

    assert open_to_others(load(arguments).conf) == [more]
