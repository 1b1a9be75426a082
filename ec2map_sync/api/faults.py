"""Errors as OpenStack's API guidelines have them."""

import logging
from http import HTTPStatus
from typing import Any

import falcon
from sqlalchemy.exc import SQLAlchemyError

from ec2map_sync.api.answers import ErrorAnswer, FaultAnswer, GoneAnswer, plain
from ec2map_sync.outages import describe
from ec2map_sync.rules.errors import BadId, Ec2MapError

LOG = logging.getLogger(__name__)


class Gone(Ec2MapError):
    """What was asked for is somewhere else now."""

    def __init__(
        self, text: str, image: str | None = None, moved_to: str | None = None
    ) -> None:
        super().__init__(text)
        self.image = image
        self.moved_to = moved_to


class Crowded(Ec2MapError):
    """Too many ask for what costs much; the same may be asked again."""


class Missing(Ec2MapError):
    """Nothing is known here of what was asked for."""


_STATUS: dict[type[Exception], HTTPStatus] = {
    BadId: HTTPStatus.BAD_REQUEST,
    Missing: HTTPStatus.NOT_FOUND,
    Gone: HTTPStatus.GONE,
    Crowded: HTTPStatus.SERVICE_UNAVAILABLE,
    SQLAlchemyError: HTTPStatus.SERVICE_UNAVAILABLE,
    Ec2MapError: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Faults:
    """Answers for what is raised, and tells the log what an operator needs.

    That a database does not answer is said once, until it does again.
    """

    def __init__(self) -> None:
        self._said: str | None = None

    def install(self, app: "falcon.App[Any, Any]") -> None:
        """Lets an application answer so."""
        app.add_error_handler(Exception, self._mistake)
        app.add_error_handler(falcon.HTTPError, self._refused)
        app.add_error_handler(SQLAlchemyError, self._away)
        app.add_error_handler(Ec2MapError, self._ours)

    def over(self) -> None:
        """Notes that the databases answer."""
        self._said = None

    def _mistake(
        self, req: falcon.Request, resp: falcon.Response, error: Any, _: Any
    ) -> None:
        LOG.exception("no answer for %s", req.path, exc_info=error)
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        _answer(req, resp, status, "a mistake in the program; its log has it")

    def _refused(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        error: falcon.HTTPError,
        _: Any,
    ) -> None:
        status = HTTPStatus(error.status_code)
        resp.set_headers(error.headers or {})
        _answer(req, resp, status, error.description or status.description)

    def _away(
        self, req: falcon.Request, resp: falcon.Response, error: Any, _: Any
    ) -> None:
        text = describe(error) or str(error)
        if self._said != text:
            LOG.warning("look-ups wait and are tried again: %s", text)
        self._said = text
        # Who asks need not know accounts and addresses.
        resp.set_header("Retry-After", "1")
        detail = "a database of this region does not answer; ask again"
        _answer(req, resp, HTTPStatus.SERVICE_UNAVAILABLE, detail)

    def _ours(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        error: Ec2MapError,
        _: Any,
    ) -> None:
        if type(error) not in _STATUS:  # the schema, the configuration
            return self._away(req, resp, error, _)
        if isinstance(error, Crowded):
            resp.set_header("Retry-After", "1")
        return _answer(req, resp, _STATUS[type(error)], str(error), error)


def _answer(
    req: falcon.Request,
    resp: falcon.Response,
    status: HTTPStatus,
    detail: str,
    error: Exception | None = None,
) -> None:
    fault = FaultAnswer(
        request_id=req.context.request_id,
        code="ec2-mapping." + status.phrase.lower().replace(" ", "-"),
        status=status,
        title=status.phrase,
        detail=detail,
    )
    answer = ErrorAnswer(errors=[fault])
    if isinstance(error, Gone):
        answer = GoneAnswer(
            errors=[fault], moved_to=error.moved_to, image=error.image
        )
    resp.status = falcon.code_to_http_status(status)
    resp.set_header("Cache-Control", "no-store")
    resp.media = plain(answer)
