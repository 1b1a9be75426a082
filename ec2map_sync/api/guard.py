"""Who may ask what: tokens of Keystone, and rules of oslo.policy."""

import logging
from typing import Any

import falcon
from keystoneauth1.exceptions import ClientException
from keystonemiddleware.auth_token import AuthProtocol
from oslo_context.context import RequestContext
from oslo_policy import policy

from ec2map_sync.api.operations import OPERATIONS
from ec2map_sync.settings.config import Config

LOG = logging.getLogger(__name__)

_UNASKED = "ec2map_sync.keystone"
"""In a request: why Keystone could not be asked of it."""

_USERS = "role:reader or role:member or role:service or role:admin"
_OPERATORS = "role:service or role:admin"
_RULES = {"image": _USERS, "lookup": _USERS}
"""Who knows a name may learn the other one; lists have everybody's images,
and how regions are is for those who run them."""


def rules() -> list[policy.RuleDefault]:
    """Returns the rules, for oslopolicy-sample-generator too."""
    return [
        policy.DocumentedRuleDefault(
            name=_rule(one.name),
            check_str=_RULES.get(one.name, _OPERATORS),
            description=one.text,
            operations=[{"path": one.path, "method": one.method}],
        )
        for one in OPERATIONS
        if not one.open
    ]


class Guard:
    """Lets those ask whose token and roles allow it."""

    def __init__(self, config: Config) -> None:
        self._conf = config.conf
        self._enforcer = policy.Enforcer(config.conf)
        self._enforcer.register_defaults(rules())
        self._said: str | None = None

    def may(self, req: falcon.Request, operation: str) -> None:
        """Looks whether who asks may.

        :raises falcon.HTTPError: 401 or 403; 503 if Keystone cannot say.
        """
        if _UNASKED in req.env:
            raise falcon.HTTPServiceUnavailable(
                description="Keystone cannot say who asks; ask again",
                retry_after=1,
            )
        if req.env.get("HTTP_X_IDENTITY_STATUS") != "Confirmed":
            raise falcon.HTTPUnauthorized(
                description="it takes a token, in the header X-Auth-Token"
            )
        context = RequestContext.from_environ(req.env)
        values = context.to_policy_values()
        if not self._enforcer.authorize(_rule(operation), {}, values):
            raise falcon.HTTPForbidden(
                description=f"the policy does not allow you {operation!r}"
            )

    def before(self, application: Any) -> Any:
        """Puts what verifies tokens before an application.

        It only says what a token is worth: some questions need none.
        """
        verified = AuthProtocol(
            application,
            {"oslo_config_config": self._conf, "delay_auth_decision": True},
        )

        def guarded(environ: dict[str, Any], start: Any) -> Any:
            try:
                answer = verified(environ, start)
            except ClientException as error:
                # Of what Keystone's library raises, the middleware answers
                # some: not that its catalogue lacks Keystone, for one.
                self._say(str(error))
                environ[_UNASKED] = error
                return application(environ, start)
            self._said = None
            return answer

        return guarded

    def _say(self, text: str) -> None:
        """Says once why no token can be verified: anybody may send many."""
        if text != self._said:
            LOG.warning(
                "no token can be verified, see [keystone_authtoken]: %s", text
            )
        self._said = text


def _rule(operation: str) -> str:
    return f"ec2-mapping:{operation}"
