"""With Keystone, everybody may ask what the roles of his token allow."""

from contextlib import contextmanager

import pytest
from commands import SmallRegion
from fake_keystone import TOKENS, FakeKeystone, serving
from falcon import testing

from ec2map_sync.api.app import application, region_of
from ec2map_sync.api.operations import OPERATIONS
from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.settings import api
from ec2map_sync.settings.loading import load

IMAGE = "2a3d51d7-356a-45c5-aa8e-34d805812a68"
PATHS = {
    one.name: (one.method, one.path.replace("{name}", IMAGE))
    for one in OPERATIONS
} | {"page": ("GET", "/")}
FOR_USERS = {"image", "lookup"}
OPEN = {"version"}


@contextmanager
def guarding(directory, endpoints):
    """Guard a region's answers with a Keystone that has such a catalogue."""
    region = SmallRegion(directory)
    region.ledger.record([Claim(claimed_at=7, image=IMAGE)])
    keystone = FakeKeystone()
    with serving(keystone) as address:
        keystone.address = address
        keystone.endpoints = endpoints
        with region.config_file.open("a") as file:
            file.write(
                "[api]\nauth = keystone\nlisten = 192.0.2.1:1\n"
                f"[keystone_authtoken]\nauth_url = {address}/v3\n"
                f"www_authenticate_uri = {address}\nauth_type = password\n"
                "interface = public\n"
                "username = admin\npassword = p\nproject_name = p\n"
                "user_domain_id = default\nproject_domain_id = default\n"
            )
        config = load([], files=[str(region.config_file)])
        assert config.api_listen  # others reach it, and a token is needed
        guarded = application(config, region_of(config))

        # The client looks at what it is given, and WebOb hides that.
        def plain(environ, start):
            return guarded(environ, start)

        yield testing.TestClient(plain)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    endpoints = {"RegionOne": "http://192.0.2.1:1"}
    with guarding(tmp_path_factory.mktemp("guard"), endpoints) as client:
        yield client


def ask(asked, name, token):
    method, path = PATHS[name]
    body = f'{{"images": ["{IMAGE}"]}}' if method == "POST" else None
    headers = {"X-Auth-Token": token} if token else {}
    return asked.simulate_request(method, path, headers=headers, body=body)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("token", [None, "forged"])
def test_without_a_good_token_only_the_version_is_told(asked, name, token):
    answer = ask(asked, name, token)

    assert answer.status_code == (200 if name in OPEN else 401)
    if name not in OPEN:
        assert "Keystone" in answer.headers["www-authenticate"]
        assert answer.json["errors"][0]["status"] == 401
        assert IMAGE not in answer.text


@pytest.mark.parametrize("name", PATHS)
def test_a_token_without_a_role_is_worth_nothing(asked, name):
    answer = ask(asked, name, TOKENS["nobody"])

    assert answer.status_code == (200 if name in OPEN else 403)


@pytest.mark.parametrize("name", PATHS)
def test_users_may_look_up_what_they_can_name(asked, name):
    answer = ask(asked, name, TOKENS["reader"])

    mays = name in FOR_USERS | OPEN
    assert answer.status_code == (200 if mays else 403)


@pytest.mark.parametrize("name", PATHS)
def test_operators_may_ask_everything(asked, name):
    assert ask(asked, name, TOKENS["admin"]).status_code == 200


def test_headers_that_only_the_middleware_writes_are_not_believed(asked):
    forged = {"X-Identity-Status": "Confirmed", "X-Roles": "admin"}

    answer = asked.simulate_get("/v1/status", headers=forged)

    assert answer.status_code == 401


def test_what_keystone_cannot_say_is_asked_again(tmp_path, caplog):
    with guarding(tmp_path, endpoints={}) as asked:
        for token in ("a forged one", TOKENS["admin"]):
            answer = ask(asked, "status", token)
        said = caplog.text.count("no token can be verified")
        told = ask(asked, "version", TOKENS["admin"])

    assert (answer.status_code, said) == (503, 1)
    assert "Keystone" in answer.json["errors"][0]["detail"]
    assert "identity service not found" in caplog.text
    assert told.status_code == 200


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    region = SmallRegion(tmp_path)
    with region.config_file.open("a") as file:
        file.write("[api]\nauth = keystone\n")
    monkeypatch.setattr(api, "find_spec", lambda _name: None)

    with pytest.raises(ConfigError, match=r"ec2map-sync\[api\]"):
        _ = load([], files=[str(region.config_file)]).api
