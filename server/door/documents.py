"""The API's descriptions of itself: OpenAPI of the routes, AsyncAPI of the stream."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, Final, get_type_hints

from attrs import NOTHING, fields, has

from protocol.answers import ANSWERS, ProblemDetails
from protocol.described import components, ref, said, schema_of
from protocol.events import EVENTS
from protocol.schema import Schema
from protocol.settings import AgentConfig
from server.door.bodies import SCHEMA
from server.door.routes import PAGING, ROUTES, Parameter, Route

Document = dict[str, Any]
_HEADERS: Final[dict[str, Schema]] = {
    "X-Last-Seq": {
        "description": "The log position that the answer reflects: the stream with `since` from here misses and "
        "repeats nothing.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "X-Log-Id": {"description": "Names the log. If it is another one, start over.", "schema": {"type": "string"}},
    "Link": {
        "description": 'The next page\'s address, `rel="next"`; absent on the last page.',
        "schema": {"type": "string"},
    },
}  # fmt: skip
_PROBLEMS: Final = {
    400: "Malformed.", 401: "The token is missing or wrong.", 403: "From a foreign Host or Origin.",
    404: "There is no such thing, or no such agent.", 409: "The state forbids it.", 413: "The body is too large.",
    415: "The body must be JSON.", 422: "An impossible value, which is named.", 429: "Too much at once.",
    503: "Not right now: Retry-After says when to ask again.",
}  # fmt: skip
_CLOSE_CODES: Final = (
    "Close codes: 1001 the daemon stops; 1013 too slow, come back with `since`; 4400 bad `since`; 4401 token missing "
    "or wrong; 4404 no such agent. A foreign Host or Origin gets HTTP 403 before the upgrade."
)


def openapi() -> Document:
    """OpenAPI 3.1 of every route."""
    paths: dict[str, Document] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Forestay",
            "version": version("forestay"),
            "description": "What is, and what was. This and the stream (asyncapi.json) read one log: polling gives "
            "exactly the history that the stream gives. Money is USDT; fractions are decimals (0.012 is 1.2 %), limits "
            "that people type are percents and end in `_pct`; times are UTC. Fields are added over time: ignore those "
            "that you do not know.",
        },
        "paths": paths,
        "components": {
            "schemas": components([*ANSWERS, *EVENTS, AgentConfig]),
            "headers": _HEADERS,
            "responses": {"Problem": _problem("An error.")},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(route: Route) -> Document:
    made: Document = {"operationId": _name(route), "summary": route.about}
    query = [*route.query, *(PAGING if route.paged else ())]
    if parameters := [*_in_path(route.path), *map(_in_query, query)]:
        made["parameters"] = parameters
    if route.body is not None:
        schema = _body(route.body) if isinstance(route.body, type) else route.body
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    made["responses"] = {str(route.status): _answer(route)}
    for status, codes in sorted(route.refusals.items()):
        made["responses"][str(status)] = _problem(f"{_PROBLEMS[status]} `code`: {codes}.")
    made["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
    return made


def _name(route: Route) -> str:
    """Such as get_agents_id_trades."""
    words = route.path.replace("{", "").replace("}", "").replace(".", "_").replace("-", "_").split("/")
    return "_".join([route.method.lower(), *filter(None, words)])


def _answer(route: Route) -> Document:
    content: Document = {route.content_type: {"schema": answer_schema(route)}}
    if route.csv:
        content["text/csv"] = {"schema": {"type": "string"}}
    names = ["X-Last-Seq", "X-Log-Id"] if route.path.startswith("/agents") else []
    names += ["Link"] if route.paged else []
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return {"description": "As asked for.", "content": content, **({"headers": headers} if headers else {})}


def answer_schema(route: Route) -> Schema:
    """Of what the route answers with where all is well."""
    kind = route.answer
    if isinstance(kind, tuple):
        kind = {"oneOf": [ref(one) for one in kind]}
    schema: Schema = kind if isinstance(kind, dict) else ref(kind)
    return {"type": "array", "items": schema} if route.many else schema


def _problem(about: str) -> Document:
    return {"description": about, "content": {"application/problem+json": {"schema": ref(ProblemDetails)}}}


def _in_path(path: str) -> Iterable[Document]:
    about = {
        "id": "The agent's id, or `current`.",
        "entry": "The entry's id, `jrn_...`.",
        "name": "The file's name.",
    }
    if path.startswith("/backtests"):
        about["id"] = "The run's id, `bt_...`."
    for part in path.split("/"):
        if part.startswith("{"):
            name = part[1:-1]
            yield {"name": name, "in": "path", "required": True, "description": about[name],
                   "schema": {"type": "string"}}  # fmt: skip


def _in_query(parameter: Parameter) -> Document:
    return {"name": parameter.name, "in": "query", "description": parameter.about, "schema": parameter.schema}


def _body(kind: type) -> Schema:
    """Of what is sent: what has a default may be left out, and nothing else may be there."""
    assert has(kind), "a body's type is a class of ours"
    hints = get_type_hints(kind)
    return {
        "type": "object",
        **said(kind),
        "additionalProperties": False,
        "properties": {a.name: schema_of(hints[a.name]) | a.metadata.get(SCHEMA, {}) for a in fields(kind)},
        "required": [a.name for a in fields(kind) if a.default is NOTHING],
    }


def asyncapi() -> Document:
    """AsyncAPI 3.0 of the stream."""
    names = [kind.__name__ for kind in EVENTS]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Forestay: the stream",
            "version": version("forestay"),
            "description": "What just happened: the log's tail, one JSON object a message. Every message has `event`, "
            "`ts` and `seq`, which rises by one per message, without gaps, for the life of the log. Ignore events and "
            "fields that you do not know. What is sent to the daemon is ignored.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "stream": {
                "address": "/ws/agents/{id}",
                "description": _CLOSE_CODES,
                "parameters": {"id": {"description": "The agent's id, or `current`.", "default": "current"}},
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
                "bindings": {
                    "ws": {
                        "method": "GET",
                        "query": {
                            "type": "object",
                            "properties": {
                                "since": {
                                    "type": "integer",
                                    "minimum": 0,
                                    "description": "Everything after this seq, then live. Without it, what comes next.",
                                }
                            },
                        },
                        "bindingVersion": "0.1.0",
                    }
                },
            }
        },
        "operations": {
            "follow": {
                "action": "send",
                "channel": {"$ref": "#/channels/stream"},
                "summary": "The daemon sends every event as soon as it is on the disk.",
                "messages": [{"$ref": f"#/channels/stream/messages/{name}"} for name in names],
            }
        },
        "components": {
            "messages": {
                kind.__name__: {"name": kind.kind, "title": kind.kind, **_summary(kind), "payload": ref(kind)}
                for kind in EVENTS
            },
            "schemas": components(EVENTS),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "subprotocol": {
                    "type": "httpApiKey",
                    "in": "header",
                    "name": "Sec-WebSocket-Protocol",
                    "description": "forestay.v1, token.<value>",
                },
            },
        },
    }


def _summary(kind: type) -> Document:
    text = said(kind).get("description", "")
    return {"summary": text.split(". ")[0]} if text else {}
