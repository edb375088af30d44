"""Strategy documents over HTTP: the ready ones, and whether a text is one. Nothing is done with it."""

from __future__ import annotations

from typing import Any, Final

import yaml
from quart import Response
from quart_trio import QuartTrio

from protocol.answers import ReadyStrategy, StrategyCheck
from protocol.codec import encoded, read_document, to_plain
from protocol.errors import InvalidSetting
from protocol.strategy import StrategySpec
from server.door.backtests import Desk
from server.settings import patched
from server.strategies import names, text

MAX_TEXT: Final = 16 * 1024
MAX_DEPTH: Final = 16


def add_strategies(app: QuartTrio, desk: Desk) -> None:
    def answer(value: Any) -> Response:
        return Response(encoded(value), headers={"Cache-Control": "no-store"}, content_type="application/json")

    @app.get("/strategies")
    async def ready_strategies() -> Response:
        return answer([ReadyStrategy(name, text(name)) for name in names()])

    @app.post("/strategies/check")
    async def check_strategy() -> Response:
        """As somebody types it, a mistake is no error of the request: it is the answer."""
        given = (await desk.body()).get("text")
        try:
            spec = parsed(given)
            patched(desk.config(), {"strategy": {"spec": to_plain(spec)}}, desk.offer, backtest=True)
        except InvalidSetting as error:
            return answer(StrategyCheck(False, tuple(error.problems), None))
        return answer(StrategyCheck(True, (), spec))


def parsed(given: object) -> StrategySpec:
    """The strategy that a YAML text describes. Raises InvalidSetting, naming each mistake."""
    if not isinstance(given, str) or len(given) > MAX_TEXT:
        raise InvalidSetting([f"text: must be YAML, of {MAX_TEXT:,} characters at most"])
    try:
        _plain(given)
        return read_document(yaml.safe_load(given), StrategySpec, at="spec")
    except (yaml.YAMLError, ValueError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f"line {mark.line + 1}" if mark else "text"
        raise InvalidSetting([f"{where}: is not valid YAML: {problem or 'it cannot be read'}"]) from None


def _plain(given: str) -> None:
    """No depths and no aliases, by which a short text becomes a huge document. Raises InvalidSetting or YAMLError."""
    depth = 0
    for event in yaml.parse(given, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > MAX_DEPTH:
            raise InvalidSetting([f"text: aliases, and more than {MAX_DEPTH} levels, have no place in a strategy"])
