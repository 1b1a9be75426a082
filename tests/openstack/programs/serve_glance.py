"""Serves Glance's API on a loopback port, without Keystone.

Whoever brings the token is an administrator, as if Keystone's middleware had
said so; the catalog names the Glance of every region, so that one can
download from another.

    serve_glance.py PORT TOKEN CATALOG   (and OS_GLANCE_CONFIG_DIR)
"""

import sys

import waitress
from glance.wsgi.api import application


def identified(token, catalog):
    """Wrap Glance: say who asks, if they bring the token."""
    identity = {
        "HTTP_X_IDENTITY_STATUS": "Confirmed",
        "HTTP_X_USER_ID": "operator",
        "HTTP_X_PROJECT_ID": "project",
        "HTTP_X_ROLES": "admin",
        "HTTP_X_SERVICE_CATALOG": catalog,
    }

    def answer(environ, start_response):
        if environ.get("HTTP_X_AUTH_TOKEN") == token:
            environ.update(identity)
        return application(environ, start_response)

    return answer


if __name__ == "__main__":
    port, token, catalog = sys.argv[1:]
    waitress.serve(
        identified(token, catalog), host="127.0.0.1", port=port, threads=8
    )
