"""ec2-api's own database code, asked by tests.

Runs in the environment of `tools/ec2api-env`: ec2-api needs SQLAlchemy 1.4.
Reads questions and writes answers, a line of JSON each: [project, function
of ec2api.db, arguments] becomes [the result, or the name of the exception].

    python ec2api_judge.py URL
"""

import json
import sys
from types import ModuleType

# It would import the clients of five services, to ask nobody.
sys.modules["ec2api.clients"] = ModuleType("ec2api.clients")

from ec2api import context  # noqa: E402
from ec2api.db.sqlalchemy import api, models  # noqa: E402
from oslo_config import cfg  # noqa: E402
from oslo_db import options  # noqa: E402


def main() -> None:
    """Answer until there are no more questions."""
    cfg.CONF([], project="ec2api")
    options.set_defaults(cfg.CONF, connection=sys.argv[1])
    models.BASE.metadata.create_all(api.get_engine())
    for line in sys.stdin:
        project, function, arguments = json.loads(line)
        asking = context.RequestContext("user", project)
        try:
            answer = getattr(api, function)(asking, *arguments)
        except Exception as error:  # noqa: BLE001, the test judges it
            answer = type(error).__name__
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
