"""What the daemon says, held against what it says of itself: every field must be described, and be what it is said to
be."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx
import jsonschema

from protocol.codec import to_json
from server.door.documents import asyncapi, openapi


def strict(schema: Any) -> Any:
    """The schema, but where it names an object's keys there may be no others."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(part) for key, part in schema.items()}
    return (
        {"additionalProperties": False, **made} if isinstance(made.get("properties"), dict) and "type" in made else made
    )


@cache
def rest() -> dict[str, Any]:
    """The REST API's description, strictly meant."""
    return _strict_components(json.loads(to_json(openapi())))


@cache
def stream() -> dict[str, Any]:
    """The stream's."""
    return _strict_components(json.loads(to_json(asyncapi())))


def _strict_components(document: dict[str, Any]) -> dict[str, Any]:
    document["components"]["schemas"] = strict(document["components"]["schemas"])
    return document


def check(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> None:
    """Raises jsonschema.ValidationError."""
    _validator(json.dumps(schema), document is rest()).validate(value)


@cache
def _validator(schema: str, of_rest: bool) -> jsonschema.Draft202012Validator:
    document = rest() if of_rest else stream()
    return jsonschema.Draft202012Validator({**json.loads(schema), "components": document["components"]})


def check_event(event: dict[str, Any]) -> None:
    """A message of the stream."""
    messages = stream()["components"]["messages"].values()
    (message,) = [it for it in messages if it["name"] == event["event"]]
    check(event, message["payload"], stream())


def check_answer(answer: httpx.Response) -> None:
    """An answer of the REST API, also one that is an error."""
    operation = operation_of(answer.request.method, urlsplit(str(answer.request.url)).path)
    described = operation["responses"].get(str(answer.status_code), operation["responses"]["default"])
    if "$ref" in described:
        described = rest()["components"]["responses"][described["$ref"].rsplit("/", 1)[1]]
    kind = answer.headers["content-type"].split(";")[0]
    assert kind in described["content"], f"{kind} is not described"
    if kind.endswith("json"):
        check(answer.json(), described["content"][kind]["schema"], rest())
    for name in described.get("headers", {}):
        assert name in answer.headers or name == "Link", f"there is no {name}"
    assert "Link" not in answer.headers or "Link" in described["headers"]


def operation_of(method: str, path: str) -> dict[str, Any]:
    """How the request is described."""
    found = [
        operations[method.lower()]
        for template, operations in rest()["paths"].items()
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", re.escape(template).replace(r"\{", "{").replace(r"\}", "}")), path)
        and method.lower() in operations
    ]
    assert len(found) == 1, f"{method} {path} is described {len(found)} times"
    return found[0]  # type: ignore[no-any-return]
