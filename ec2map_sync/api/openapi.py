"""The description of the API (OpenAPI 3.1), generated from its code."""

import types
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Union, get_args, get_origin, get_type_hints

from ec2map_sync.api.answers import ErrorAnswer, GoneAnswer
from ec2map_sync.api.operations import OPERATIONS, Operation, Parameter
from ec2map_sync.protocol.messages import Json

_PLAIN = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}
_EVERYWHERE = (500, 503)
_GUARDED = (401, 403)


def document(version: str) -> Json:
    """Returns the description."""
    schemas: Json = {}
    paths: Json = {}
    for operation in OPERATIONS:
        path = paths.setdefault(operation.path, {})
        path[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ec2map-sync",
            "version": version,
            "summary": "Which EC2 id an image has, in every region.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Auth-Token",
                }
            },
        },
    }


def _operation(operation: Operation, schemas: Json) -> Json:
    found: Json = {
        "operationId": operation.name,
        "summary": operation.text,
        "parameters": list(map(_parameter, operation.parameters)),
        "responses": _responses(operation, schemas),
        "security": [] if operation.open else [{}, {"token": []}],
    }
    if operation.body:
        found["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": operation.body}},
        }
    return found


def _responses(operation: Operation, schemas: Json) -> Json:
    codes: Iterable[int] = (*operation.errors, *_EVERYWHERE)
    if not operation.open:
        codes = (*codes, *_GUARDED)
    found = {"200": _response("OK", operation.answer, schemas)}
    for code in sorted(codes):
        gone = code == HTTPStatus.GONE
        answer = GoneAnswer if gone else ErrorAnswer
        phrase = HTTPStatus(code).phrase
        found[str(code)] = _response(phrase, answer, schemas)
    if operation.max_age is not None:
        phrase = HTTPStatus.NOT_MODIFIED.phrase
        found["304"] = {"description": phrase}
    return found


def _response(text: str, answer: type, schemas: Json) -> Json:
    schema = _schema(answer, schemas)
    return {
        "description": text,
        "content": {"application/json": {"schema": schema}},
    }


def _parameter(parameter: Parameter) -> Mapping[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.text,
        "schema": parameter.schema,
    }


def _schema(kind: Any, schemas: Json) -> Json:
    """Returns the schema of a type; puts those of dataclasses aside."""
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0], schemas)}
    if origin is dict:
        values = _schema(arguments[1], schemas)
        return {"type": "object", "additionalProperties": values}
    if origin in {types.UnionType, Union}:
        return {"type": [_PLAIN[one] for one in arguments]}
    name = kind.__name__.removesuffix("Answer")
    if name not in schemas:
        schemas[name] = {}  # a type may be a part of itself
        schemas[name] = _object(kind, schemas)
    return {"$ref": f"#/components/schemas/{name}"}


def _object(kind: Any, schemas: Json) -> Json:
    properties = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        meaning, text = get_args(hint)
        properties[name] = _schema(meaning, schemas) | {"description": text}
    return {
        "type": "object",
        "description": kind.__doc__.partition("\n")[0],
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
