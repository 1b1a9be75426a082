"""How python-openstackclient finds the look-up API: by the catalogue."""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from keystoneauth1.adapter import Adapter
from osc_lib.exceptions import CommandError

API_NAME = "ec2_mapping"
API_VERSION_OPTION = "os_ec2_mapping_api_version"
API_VERSIONS = ("1",)
DEFAULT_API_VERSION = "1"
SERVICE_TYPE = "ec2-mapping"

AT_ONCE = 1000
"""Images that the API takes, and gives, at once."""

Told = Mapping[str, Any]


class ApiClient:
    """Asks the look-up API of the region that was chosen."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter

    def image(self, name: str) -> Told:
        """Looks an image up, by either of its names."""
        return self._ask(f"/v1/images/{name}")

    def images(self, marker: str | None = None) -> Iterator[Told]:
        """Returns all images that have an id, a page at a time."""
        begin = f"&marker={marker}" if marker else ""
        page = self._ask(f"/v1/images?limit={AT_ONCE}{begin}")
        while page["images"]:
            yield from page["images"]
            since = page["next"]
            page = self._ask(f"/v1/images?limit={AT_ONCE}&since={since}")

    def lookup(self, names: Iterable[str]) -> dict[str, Told]:
        """Looks many up at once; gives those known, by lower-cased UUID."""
        found: dict[str, Told] = {}
        rest = iter(names)
        while some := list(islice(rest, AT_ONCE)):
            answer = self._ask(
                "/v1/images:lookup", "POST", json={"images": some}
            )
            found |= {one["image"].lower(): one for one in answer["images"]}
        return found

    def _ask(self, path: str, method: str = "GET", **more: Any) -> Told:
        answer = self._adapter.request(
            self._url(path), method, raise_exc=False, **more
        )
        if answer.ok:
            found: Told = answer.json()
            return found
        try:
            (fault,) = answer.json()["errors"]
            raise CommandError(fault["detail"])
        except (ValueError, KeyError, TypeError) as error:  # not our answer
            text = f"{answer.status_code} {answer.reason}"
            raise CommandError(text) from error

    def _url(self, path: str) -> str:
        """Returns an address; the catalogue may name the version, or not."""
        root = str(self._adapter.get_endpoint() or "").rstrip("/")
        return root.removesuffix("/v1") + path


def make_client(instance: Any) -> ApiClient:
    """Makes a client, as the openstack program asks for one."""
    return ApiClient(
        Adapter(
            instance.session,
            service_type=SERVICE_TYPE,
            interface=instance.interface,
            region_name=instance.region_name,
        )
    )


def build_option_parser(
    parser: argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    """Adds the option that every plugin has."""
    parser.add_argument(
        "--os-ec2-mapping-api-version",
        metavar="<version>",
        default=DEFAULT_API_VERSION,
        choices=API_VERSIONS,
        help="Version of the EC2 look-up API (default: 1)",
    )
    return parser


def names_of(images: Iterable[Any]) -> dict[str, str]:
    """Returns what Glance calls images, by lower-cased UUID."""
    return {image.id.lower(): image.name or "" for image in images}


Listed = tuple[Sequence[str], Iterable[Sequence[Any]]]
