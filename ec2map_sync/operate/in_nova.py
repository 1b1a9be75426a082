"""Looks images up as Nova does, by its own code, and changes nothing.

It is run by a Python that has Nova, and not us; so it imports nothing of ours,
and reads by Python 3.9 too. Its own directory, where another module is called
nova, has to stay out of the path:

    PYTHON -I in_nova.py --config-file FILE… < QUESTION
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any, NoReturn


class _Absent(Exception):
    """Nova would make a row."""


def look_up(question: Any) -> list[int | None]:
    """Answers a question: which number Nova finds for each image of a cell."""
    context = import_module("nova.context")
    objects = import_module("nova.objects")
    objects.register_all()
    admin = context.get_admin_context()
    cells = objects.CellMappingList.get_all(admin)
    for cell in cells:
        if question["cell"] in {cell.name, cell.uuid}:
            context.set_target_cell(admin, cell)
            break
    else:
        raise SystemExit(f"Nova lists no cell {question['cell']}")
    find = _finder(import_module("nova.objects.ec2"))
    return [find(admin, image) for image in question["images"]]


def _finder(ec2: Any) -> Any:
    """Returns Nova's look-up, which makes no row here and no memo."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise _Absent

    ec2.S3ImageMapping.create = refuse
    cache = import_module("nova.cache_utils")
    ec2._CACHE = cache.get_client(expiration_time=ec2._CACHE_TIME)
    ec2._CACHE.set = lambda *_: None

    def find(admin: Any, image: str) -> int | None:
        try:
            return int(ec2.glance_id_to_id(admin, image))
        except _Absent:
            return None

    return find


if __name__ == "__main__":
    import_module("nova.config").parse_args(["nova", *sys.argv[1:]])
    print(json.dumps(look_up(json.load(sys.stdin))))
