"""Glance's API: which images it has (openstacksdk)."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from oslo_config import cfg

from ec2map_sync.rules.errors import ConfigError, Ec2MapError, one_line
from ec2map_sync.settings.plainly import DOLLAR
from ec2map_sync.settings.values import Glance

if TYPE_CHECKING:  # slow to import, and only some processes ask Glance
    from keystoneauth1.plugin import BaseAuthPlugin
    from openstack.connection import Connection

PAGE = 1000
"""Images in one answer: the most that Glance gives as it comes
(api_limit_max)."""

_GROUP = "glance"
_REFUSALS = {
    401: "it does not know us: check [glance] auth_type, username, password",
    403: "it refuses: the account needs a role that may list all images",
}


class GlanceError(Ec2MapError):
    """Glance's API does not answer, or not as it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image as Glance lists it; times are texts that it has written."""

    uuid: str
    container_format: str | None
    created_at: str | None
    updated_at: str | None
    visibility: str | None = None
    ec2_id: str | None = None
    """The id that it says ec2-api has promised for it."""
    content: str | None = None
    """How what it holds was hashed, and to what (os_hash)."""


class Catalogue:
    """All images of the region's Glance, also private and hidden ones.

    Connects when first asked, and again after `close`.

    :raises GlanceError: from every method, in one line.
    """

    def __init__(self, conf: cfg.ConfigOpts, options: Glance) -> None:
        self._conf = conf
        self._options = options
        self._connection: Connection | None = None
        self.told_at: datetime | None = None
        """The time at Glance when it answered last, if it has said so."""

    def images(
        self,
        *,
        hidden: bool,
        created_since: str | None = None,
        updated_since: str | None = None,
    ) -> Iterator[Image]:
        """Lists images that may get ids, the oldest first, page by page.

        Hidden ones stand in a list of their own. They are sorted by what
        never changes: an image that is updated while we read would else
        take the place where we are with it, and the rest would be left out.
        """
        query = {"sort": "created_at:asc,id:asc", "limit": str(PAGE)}
        if created_since:
            query["created_at"] = f"gte:{created_since}"
        if updated_since:
            query["updated_at"] = f"gte:{updated_since}"
        with _Said():
            for page in self._pages(hidden, query):
                yield from filter(self._is_selected, page)

    def contents(self) -> dict[str, str]:
        """Returns what images' contents hash to, where Glance tells."""
        return {
            image.uuid.lower(): image.content
            for hidden in (False, True)
            for image in self.images(hidden=hidden)
            if image.content
        }

    def newest_update(self) -> str | None:
        """Returns when an image was last changed; None if there is none."""
        query = {"sort": "updated_at:desc", "limit": "1"}
        with _Said():
            newest = [
                image.updated_at
                for hidden in (False, True)
                for image in next(self._pages(hidden, query))
            ]
        return max(filter(None, newest), default=None)

    def roles(self) -> frozenset[str] | None:
        """Returns what Keystone lets us be; None where there is none."""
        from keystoneauth1.identity.base import (  # noqa: PLC0415, slow
            BaseIdentityPlugin,
        )

        with _Said():
            session = self._open().session
            if not isinstance(session.auth, BaseIdentityPlugin):
                return None
            access = session.auth.get_access(session)
            return frozenset(access.role_names or ())

    def close(self) -> None:
        """Drops the connection; the next question makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _is_selected(self, image: Image) -> bool:
        return self._options.selection.takes(
            image.visibility, image.container_format
        )

    def _pages(
        self, hidden: bool, query: Mapping[str, str]
    ) -> Iterator[list[Image]]:
        # Not Connection.image.images(): that makes an object with some
        # hundred fields of each, and asks for one page too many.
        from openstack.exceptions import (  # noqa: PLC0415, slow
            raise_from_response,
        )

        asked = {**query, "visibility": "all", "os_hidden": str(hidden)}
        while asked:
            answer = self._open().image.get("/images", params=asked)
            raise_from_response(answer)
            self.told_at = _time_in(answer.headers)
            found = answer.json()
            yield [_image(fields) for fields in found["images"]]
            onward = urlsplit(found.get("next") or "").query
            asked = dict(parse_qsl(onward))

    def _open(self) -> "Connection":
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> "Connection":
        from keystoneauth1 import loading  # noqa: PLC0415, slow
        from openstack.connection import Connection  # noqa: PLC0415, slow

        session = loading.load_session_from_conf_options(
            self._conf,
            _GROUP,
            auth=self._auth(),
            additional_headers=dict(self._options.headers),
        )
        return Connection(
            session=session,
            oslo_conf=self._conf,
            service_types=["image"],
            region_name=self._options.region_name,
            app_name="ec2map-sync",
        )

    def _auth(self) -> "BaseAuthPlugin":
        from keystoneauth1 import loading, noauth  # noqa: PLC0415, slow
        from keystoneauth1.exceptions import (  # noqa: PLC0415, slow
            AuthPluginException,
        )

        try:
            auth = loading.load_auth_from_conf_options(self._conf, _GROUP)
        except AuthPluginException as error:
            raise ConfigError(f"[glance] {one_line(error)}") from error
        except cfg.NoSuchOptError as error:
            raise ConfigError(f"[glance] {DOLLAR}") from error
        return auth or noauth.NoAuth(endpoint=self._options.endpoint)


def _time_in(headers: Mapping[str, str]) -> datetime | None:
    with suppress(KeyError, ValueError):
        at = parsedate_to_datetime(headers["Date"])
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    return None


def _image(fields: Mapping[str, Any]) -> Image:
    return Image(
        uuid=str(fields["id"]),
        container_format=fields.get("container_format"),
        created_at=fields.get("created_at"),
        updated_at=fields.get("updated_at"),
        visibility=fields.get("visibility"),
        ec2_id=fields.get("ec2_id"),
        content=_content(fields),
    )


def _content(fields: Mapping[str, Any]) -> str | None:
    algorithm, value = fields.get("os_hash_algo"), fields.get("os_hash_value")
    return f"{algorithm}:{value}" if algorithm and value else None


class _Said:
    """Turns what the libraries raise into a line of ours."""

    def __enter__(self) -> None:
        """Begins."""

    def __exit__(
        self, _kind: object, error: BaseException | None, _trace: object
    ) -> None:
        """Says what went wrong, if anything did."""
        if error is None or isinstance(error, Ec2MapError | GeneratorExit):
            return
        from keystoneauth1.exceptions import (  # noqa: PLC0415, slow
            ClientException,
        )
        from openstack.exceptions import (  # noqa: PLC0415, slow
            HttpException,
            SDKException,
        )

        known = (ClientException, SDKException, ValueError, KeyError)
        if not isinstance(error, known):
            return  # a mistake of ours
        status = getattr(error, "http_status", None) or getattr(
            error, "status_code", None
        )
        text = _REFUSALS.get(status or 0) or one_line(error)
        if isinstance(error, ValueError | KeyError):
            text = (
                "what answers is no Glance: check [glance] endpoint_override, "
                "or, with auth_type = none, endpoint (it ends in /v2/)"
            )
        elif isinstance(error, HttpException) and status not in _REFUSALS:
            text = f"HTTP {status}: {text}"
        raise GlanceError(f"Glance's API: {text}") from error
