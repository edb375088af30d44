"""Every route of the door, described: what `GET /openapi.json` is made from. A test holds it against the app."""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

from attrs import Factory, frozen

from protocol import answers
from protocol.events import EVENTS, EntryType, JournalEntry, Snapshot, Trade
from protocol.orders import Side
from protocol.schema import Schema
from protocol.settings import AgentConfig
from server.door.bodies import DemoteBody, KillBody, PromoteBody, ReapproveBody, WouldBe
from server.door.lists import DEFAULT_LIMIT, INTERVALS, MAX_LIMIT
from server.door.tables import TRADE_COLUMNS

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


@frozen
class Parameter:
    """A parameter of the query."""

    name: str
    about: str
    schema: Schema


@frozen
class Route:
    """`answer` is a class, a tuple of classes (one of them), or the schema itself; `many` says it is a list of it.
    `refusals` are its own errors, each with its codes."""

    method: Method
    path: str
    about: str
    answer: Any
    many: bool = False
    paged: bool = False
    query: tuple[Parameter, ...] = ()
    body: Schema | type | None = None
    status: int = 200
    content_type: str = "application/json"
    refusals: dict[int, str] = Factory(dict)
    csv: bool = False


def _one_of(name: str, about: str, *values: str) -> Parameter:
    return Parameter(name, about, {"enum": list(values)})


TEXT: Final[Schema] = {"type": "string"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
PAIRS: Final[Schema] = {"type": "array", "items": TEXT, "minItems": 1, "uniqueItems": True}
FROM: Final = Parameter("from", "From this time on, inclusive; UTC where no zone is given.", TIME)
TO: Final = Parameter("to", "Up to this time, exclusive.", TIME)
LIMIT: Final = Parameter(
    "limit", "Items of a page.", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
)
CURSOR: Final = Parameter(
    "cursor", "Out of the Link header of the page before.", {"type": "string", "pattern": r"^\d{1,18}\.\d{1,18}$"}
)
PAGING: Final = (FROM, TO, LIMIT, CURSOR)
PAIR: Final = Parameter("pair", "Of this pair alone, such as ETH/USDT.", TEXT)
FORCE: Final = _one_of("force", "As for a promotion out of PAPER.", "true", "false")
NOT_DURABLE: Final = "NOT_DURABLE: it is accepted and not on the disk yet; look again"
MERGE_PATCH: Final[Schema] = {
    "type": "object",
    "description": "A merge patch of the config (RFC 7396): tables merge, null brings a default back.",
    "examples": [{"risk": {"preset": "conservative"}, "snapshot_minutes": 30}],
}
BACKTEST: Final[Schema] = {
    "type": "object",
    "description": "What to run. Where nothing is said, it is the agent's config over all that the market has.",
    "additionalProperties": False,
    "properties": {
        "spec": {"description": "The strategy document, or the name of one that comes with Forestay."},
        "pairs": PAIRS,
        "from": TIME,
        "to": TIME,
        "days": {"type": "number", "minimum": 1, "maximum": 3650},
        "out_of_sample": {"type": "number", "minimum": 0.01, "maximum": 0.99},
        "config": MERGE_PATCH,
    },
}
ANY_EVENT: Final = tuple(EVENTS)
_AGENT: Final = "/agents/{id}"

ROUTES: Final = (
    Route("GET", "/healthz", "Is the process alive?", answers.Alive),
    Route("GET", "/readyz", "May the agent decide?", answers.Ready, refusals={503: "the reason why not"}),
    Route("GET", "/metrics", "The daemon for Prometheus.", TEXT, content_type="text/plain"),
    Route("GET", "/openapi.json", "This description of the REST API.", {"type": "object"}),
    Route("GET", "/asyncapi.json", "The description of the stream.", {"type": "object"}),
    Route("GET", "/", "The dashboard.", TEXT, content_type="text/html"),
    Route("GET", "/page/{name}", "A file of the dashboard.", TEXT, content_type="*/*", refusals={404: "NOT_FOUND"}),
    Route("GET", "/strategies", "The strategies that come with Forestay.", answers.ReadyStrategy, many=True),
    Route(
        "POST",
        "/strategies/check",
        "Is this text a strategy for this market? A mistake in it is part of the answer. Nothing is done.",
        answers.StrategyCheck,
        body={"type": "object", "required": ["text"], "properties": {"text": TEXT}},
    ),
    Route("GET", "/indicators", "What a strategy may look at.", answers.Indicator, many=True),
    Route(
        "GET",
        "/strategy.schema.json",
        "The JSON Schema of the strategy document.",
        {"type": "object"},
        content_type="application/schema+json",
    ),
    Route("GET", "/agents", "The agents of this daemon: one.", answers.Agent, many=True),
    Route("GET", _AGENT, "The agent as it stands.", answers.Agent),
    Route("GET", f"{_AGENT}/health", "Actors, log, clients and guard.", answers.Health),
    Route(
        "GET", f"{_AGENT}/positions", "Open positions of both books, at the last price.", answers.Position, many=True
    ),
    Route(
        "GET",
        f"{_AGENT}/equity",
        "Snapshots of the current phase's book, oldest first.",
        Snapshot,
        many=True,
        paged=True,
        query=(_one_of("interval", "Only the last one of each such bucket.", *INTERVALS),),
    ),
    Route(
        "GET",
        f"{_AGENT}/trades",
        "Executions, oldest first unless sorted. As CSV they come whole, not in pages.",
        Trade,
        many=True,
        paged=True,
        csv=True,
        query=(
            _one_of("phase", "Of which book.", "paper", "live", "all"),
            PAIR,
            _one_of("side", "Of this side alone.", *get_args(Side)),
            Parameter("journal_ref", "The one that this journal entry tells.", TEXT),
            Parameter("order_ref", "The one of this order.", TEXT),
            _one_of("sort", "In the order of this field; what lacks it comes last.", *TRADE_COLUMNS),
            _one_of("order", "Which end comes first.", "asc", "desc"),
            _one_of("format", "In place of an Accept header.", "json", "csv"),
        ),
    ),
    Route(
        "GET",
        f"{_AGENT}/journal",
        "Entries, newest first. A page of a search may be short, even empty, while a next one is named.",
        JournalEntry,
        many=True,
        paged=True,
        query=(
            _one_of("type", "Of this type alone.", *get_args(EntryType)),
            Parameter("tag", "That have this tag.", TEXT),
            PAIR,
            Parameter("q", "Whose text has these words, whatever their case.", TEXT),
        ),
    ),
    Route(
        "GET",
        f"{_AGENT}/journal/{{entry}}",
        "One entry. Where its time is known, `from` finds it sooner.",
        JournalEntry,
        query=(FROM, TO),
        refusals={404: "ENTRY_NOT_FOUND"},
    ),
    Route(
        "GET",
        f"{_AGENT}/journal/{{entry}}/repeats",
        "The decisions that an entry counts, one by one, oldest first; none where it counts none.",
        answers.Repeat,
        many=True,
        query=(FROM, TO),
        refusals={404: "ENTRY_NOT_FOUND"},
    ),
    Route(
        "GET",
        f"{_AGENT}/risk/blocks",
        "What either layer refused.",
        answers.Block,
        many=True,
        paged=True,
        query=(_one_of("order", "Which end comes first; the oldest where nothing is said.", "asc", "desc"),),
    ),
    Route("GET", f"{_AGENT}/risk/objectives", "Each limit of the policy and its use.", answers.Limit, many=True),
    Route(
        "POST",
        f"{_AGENT}/risk/check",
        "Would this order pass? Nothing is done. A sell passes always.",
        answers.RiskCheck,
        body=WouldBe,
    ),
    Route("GET", f"{_AGENT}/evaluation", "How far the paper record is.", answers.Evaluation),
    Route(
        "GET",
        f"{_AGENT}/performance",
        "Quick figures of one book.",
        answers.Performance,
        query=(FROM, TO, _one_of("phase", "Of which book; the current phase's where none is named.", "paper", "live")),
    ),
    Route(
        "GET",
        f"{_AGENT}/funnel",
        "Signals, but no trades: how many decisions were left behind each gate.",
        answers.Funnel,
        query=(FROM, TO, PAIR),
    ),
    Route(
        "GET",
        f"{_AGENT}/why",
        "Why did it not trade? One round as it was decided, gate by gate; where no pair is named, that of the last "
        "signal that did not trade. `verdict` is the answer in a sentence, `text` all of it.",
        {"type": "object", "description": "The same facts as `forestay why --json` prints, and `text`."},
        query=(PAIR, Parameter("at", "The last one at or before this time.", TIME)),
        refusals={404: "NOTHING_TO_EXPLAIN"},
    ),
    Route(
        "GET",
        f"{_AGENT}/events",
        "The stream's own messages, oldest first.",
        ANY_EVENT,
        many=True,
        paged=True,
        query=(Parameter("since", "After this event.", {"type": "integer", "minimum": 0}),),
    ),
    Route("GET", f"{_AGENT}/config", "The config in force.", AgentConfig),
    Route(
        "PATCH",
        f"{_AGENT}/config",
        "Change the config: a new version, and a fresh evaluation.",
        AgentConfig,
        body=MERGE_PATCH,
        refusals={409: "CONFIG_CHANGED, LIVE_LIMIT", 503: NOT_DURABLE},
    ),
    Route(
        "GET",
        f"{_AGENT}/config/versions",
        "Every version, oldest first, each with its own record.",
        answers.ConfigVersion,
        many=True,
        query=(_one_of("phase", "The record of which book; paper's where none is named.", "paper", "live"),),
    ),
    Route("GET", f"{_AGENT}/watchlist", "The pairs that may be entered.", PAIRS),
    Route(
        "PUT",
        f"{_AGENT}/watchlist",
        "Put the watchlist whole: a new version of the config.",
        PAIRS,
        body=PAIRS,
        refusals={409: "CONFIG_CHANGED, LIVE_LIMIT", 503: NOT_DURABLE},
    ),
    Route(
        "GET",
        f"{_AGENT}/preflight",
        "Everything that a promotion depends on, looked at now.",
        answers.Check,
        many=True,
        query=(FORCE,),
        refusals={409: "SIGNING_NOT_SET_UP"},
    ),
    Route(
        "POST",
        f"{_AGENT}/promote",
        "To LIVE.",
        answers.Promoted,
        body=PromoteBody,
        refusals={
            409: "NOT_ELIGIBLE, ALREADY_LIVE, PROMOTION_LOCKED, SIGNER_REVOKED, PREFLIGHT_FAILED, SIGNING_NOT_SET_UP",
            503: NOT_DURABLE,
        },
    ),
    Route(
        "POST",
        f"{_AGENT}/demote",
        "To paper by hand, selling what is held.",
        answers.Demoted,
        body=DemoteBody,
        refusals={409: "NOT_LIVE, ORDERS_OPEN", 503: NOT_DURABLE},
    ),
    Route(
        "POST",
        f"{_AGENT}/reapprove",
        "Lift the lock of a max-drawdown demotion. Nothing is promoted.",
        answers.Reapproved,
        body=ReapproveBody,
        refusals={409: "NOT_LOCKED", 503: NOT_DURABLE},
    ),
    Route(
        "POST",
        f"{_AGENT}/kill-switch",
        "The guard signs nothing more.",
        answers.Killed,
        body=KillBody,
        refusals={409: "SIGNING_NOT_SET_UP", 503: "GUARD_UNAVAILABLE: stop it, then"},
    ),
    Route("GET", "/backtests", "The queue, newest first.", answers.Backtest, many=True),
    Route(
        "POST",
        "/backtests",
        "Queue a run over the market's past.",
        answers.Backtest,
        body=BACKTEST,
        status=202,
        refusals={429: "QUEUE_FULL"},
    ),
    Route(
        "GET",
        "/backtests/{id}",
        "A run, and once it is done its result.",
        answers.FinishedBacktest,
        refusals={404: "BACKTEST_NOT_FOUND"},
    ),
    Route(
        "GET",
        "/backtests/{id}/report",
        "Its report as one HTML file, the same as the command's.",
        TEXT,
        content_type="text/html",
        refusals={404: "BACKTEST_NOT_FOUND, REPORT_NOT_FOUND"},
    ),
    Route(
        "DELETE",
        "/backtests/{id}",
        "Cancel it.",
        answers.Backtest,
        refusals={404: "BACKTEST_NOT_FOUND", 409: "BACKTEST_ENDED"},
    ),
)
