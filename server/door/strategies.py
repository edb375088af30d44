"""Strategy documents over HTTP: the ready ones, and whether a text is one. Nothing is done with it."""

from __future__ import annotations

from typing import Any, Final

from quart import Response
from quart_trio import QuartTrio

from protocol.answers import ReadyStrategy, StrategyCheck
from protocol.codec import encoded, read_document, to_plain
from protocol.errors import InvalidSetting
from protocol.strategy import StrategySpec
from server.door.backtests import Desk
from server.door.problems import Problem
from server.plain_yaml import NotYaml, plain_yaml
from server.settings import patched
from server.strategies import names, text

MAX_TEXT: Final = 16 * 1024


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
        if not isinstance(given, str):
            raise Problem(422, "VALIDATION_ERROR", "text: must be text, which is read as YAML")
        try:
            spec = parsed(given)
            patched(desk.config(), {"strategy": {"spec": to_plain(spec)}}, desk.offer, backtest=True)
        except InvalidSetting as error:
            return answer(StrategyCheck(False, tuple(error.problems), None))
        return answer(StrategyCheck(True, (), spec))


def parsed(given: str) -> StrategySpec:
    """The strategy that a YAML text describes. Raises InvalidSetting, naming each mistake."""
    if len(given) > MAX_TEXT:
        raise InvalidSetting([f"text: must be YAML, of {MAX_TEXT:,} characters at most"])
    try:
        return read_document(plain_yaml(given), StrategySpec, at="spec")
    except NotYaml as error:
        where = f"line {error.line}" if error.line else "text"
        raise InvalidSetting([f"{where}: {error.reason}"]) from None
