"""Asks the API of a small region, as its clients do."""

import json
from typing import Any

from commands import SmallRegion
from falcon import testing

from ec2map_sync.api.app import application, region_of
from ec2map_sync.settings.loading import load


def client(region: SmallRegion, extra: str = "") -> testing.TestClient:
    """Give what asks the application directly."""
    with region.config_file.open("a") as file:
        file.write(extra)
    config = load([], files=[str(region.config_file)])
    return testing.TestClient(application(config, region_of(config)))


def described(asked: testing.TestClient) -> dict[str, Any]:
    """Give the description that the application has of itself."""
    found: dict[str, Any] = json.loads(asked.get("/v1/openapi.json").text)
    return found
