"""Before the floors stand: one daemon per data dir, one market and one first config per log."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import trio
from attrs import evolve, frozen

from actors.journal.store import DISK_ERRORS, FILE_NAME, LAYOUT, MAKER, Damaged, LogReader, LogStore
from actors.market_feed.candles import open_candles
from actors.market_feed.demo import DemoMarket
from actors.market_feed.replay import ReplayMarket
from actors.market_feed.series import open_series
from actors.messages import Note
from actors.ports import Market
from actors.twak_signer.actor import Armed
from actors.twak_signer.guard import SocketGuard
from protocol.codec import decode_row
from protocol.errors import UserError
from protocol.events import ConfigAdopted, Genesis
from protocol.market import Candle
from protocol.settings import AgentConfig, ChainSettings, MachineSettings, MarketSettings
from protocol.times import EPOCH, to_wire
from server.settings import Offer, Settings, agent_config, differences

if TYPE_CHECKING:
    from actors.chain.rpc import RpcChain
    from actors.market_feed.chain import ChainMarket

log = logging.getLogger("forestay.market")


@frozen
class Booted:
    """What the floors are founded on."""

    log: Path
    log_id: str
    market: Market
    config: AgentConfig
    chain: RpcChain | None = None  # of the chain market; whoever runs it closes it
    armed: Armed | None = None  # what live orders go by: a chain market and a guard


@contextmanager
def only_daemon(folder: Path) -> Iterator[None]:
    """Hold the data dir for this process. Raises UserError where another daemon has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"data_dir = {str(folder)!r}: cannot be used: {reason}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = _alive(os.pread(handle, 32, 0))
        os.close(handle)
        raise UserError(
            f"data_dir = {str(folder)!r}: another forestay runs on it (process {holder}); stop it, or choose another "
            "data_dir"
        ) from None
    try:
        with suppress(OSError):  # only a help for whoever finds it locked; the disk may be full
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def _alive(written: bytes) -> str:
    """The process that wrote its number there, if there is one: who has just won the lock may not have written yet."""
    try:
        os.kill(int(written), 0)
    except (ValueError, OSError):
        return "unknown"
    return written.decode()


def boot(settings: Settings) -> Booted:
    """Open or create the log and hold the settings against it. Raises UserError, and Damaged."""
    path = Path(settings.machine.data_dir) / FILE_NAME
    try:
        store = LogStore(path, log_id="log_" + secrets.token_hex(8))
        log_id = store.log_id
        checkpoint = store.latest_checkpoint(MAKER)
        store.verify(checkpoint.row if checkpoint else 0)
        store.close()
        reader = LogReader(path)
        first = [decode_row(body) for _, body in reader.bodies(0, (Genesis.kind, ConfigAdopted.kind), 2)]
        current = decode_row(reader.configs()[-1][1]) if first else None
        reader.close()
    except Damaged:
        raise
    except DISK_ERRORS as error:
        raise UserError(f"{path}: the disk does not take the log: {error}; see to the disk and start again") from None
    except (apsw.Error, ValueError, KeyError) as error:
        raise UserError(f"{path}: the log cannot be opened: {error}; try `forestay journal verify`") from None
    if not first:
        market, chain = _market(settings.machine, None)
        config = agent_config(settings.agent, Offer.of(market))
        return Booted(path, log_id, market, config, chain, _armed(market, chain, settings.machine))
    genesis, config_1 = first
    assert isinstance(genesis, Genesis), "a log's first row is its genesis"
    if genesis.layout != LAYOUT:
        raise UserError(f"{path}: the log has layout {genesis.layout}, this forestay reads layout {LAYOUT}")
    assert isinstance(config_1, ConfigAdopted), "a log's second row is its config"
    if settings.machine.market.kind == "chain" != genesis.market.get("kind"):
        _same_market({"kind": "chain"}, genesis, settings, path)  # without asking the chain
    market, chain = _market(settings.machine, genesis.market)
    _same_market(market.pinned, genesis, settings, path)
    assert isinstance(current, ConfigAdopted), "only configs were asked for"
    differs = differences(settings.agent, current.config)
    if differs and differences(settings.agent, config_1.config):
        lines = "\n".join(differs)
        raise UserError(
            f"{lines}\nThe agent's config lives in the log ({path}), version {current.version}. Change it with PATCH "
            f"/agents/{genesis.agent}/config while the daemon runs, or take these keys out of the settings, or start "
            "afresh with another data_dir."
        )
    return Booted(path, log_id, market, config_1.config, chain, _armed(market, chain, settings.machine))


def findable(settings: MarketSettings, pinned: dict[str, Any]) -> MarketSettings:
    """The same market for another process: absolute paths, and the seed that a demo has drawn."""

    def absolute(files: dict[str, str]) -> dict[str, str]:
        return {name: str(Path(path).absolute()) for name, path in files.items()}

    seed = int(pinned["seed"]) if settings.kind == "demo" else None
    return evolve(
        settings,
        seed=seed,
        replay=absolute(settings.replay),
        reference=absolute(settings.reference),
        series=absolute(settings.series),
    )


def started(agent: str, kind: str, pairs: tuple[str, ...]) -> Note:
    """What a run says first."""
    text = f"Started: {agent} trades {', '.join(pairs)} on paper ({kind} market)."
    return Note("STARTED", (kind,), text, {"version": version("forestay"), "market": kind})


def _market(settings: MachineSettings, pinned: dict[str, Any] | None) -> tuple[Market, RpcChain | None]:
    """The market of the settings, and the chain where it is one."""
    if settings.market.kind != "chain":
        return make_market(settings.market, pinned), None
    _no_files(settings.market)
    return _chain_market(settings.chain, pinned)


def _chain_market(settings: ChainSettings, pinned: dict[str, Any] | None) -> tuple[ChainMarket, RpcChain]:
    """A new log's market is looked up on the chain, now; a log that there is knows its own, so that a daemon starts
    whether the chain answers or not."""
    from actors.chain.founding import check_checksums, found, kept
    from actors.chain.rpc import RpcChain
    from actors.market_feed.chain import ChainMarket

    check_checksums(settings)
    history = {pair: _history(Path(name), pair, settings) for pair, name in settings.history.items()}
    chain = RpcChain(settings.rpc, settings.chain_id, settings.timeout_seconds)

    async def looked_up() -> dict[str, Any]:
        try:
            return await found(chain, settings)
        finally:
            with trio.CancelScope(shield=True):
                await chain.aclose()

    said = kept(settings, pinned) if pinned is not None else trio.run(looked_up)
    # What differs from the log is refused by whoever compares them; the market is of what was pinned.
    market = ChainMarket(chain, settings, pinned or said, history)
    market.pinned = said
    return market, chain


def _armed(market: Market, chain: RpcChain | None, settings: MachineSettings) -> Armed | None:
    """Without a guard nothing is ever signed, and without a chain there is nothing to sign."""
    if chain is None or settings.chain.guard is None:
        return None
    from actors.market_feed.chain import ChainMarket

    assert isinstance(market, ChainMarket), "a chain is only made with its market"
    return Armed(chain, SocketGuard(settings.chain.guard), settings.chain, market.pools, market.references)


def _history(path: Path, pair: str, settings: ChainSettings) -> tuple[Candle, ...]:
    file = open_candles(path, pair)
    for note in file.notes:
        log.warning("%s: %s", path, note)
    if file.interval.total_seconds() != settings.candle_seconds or (file.last - EPOCH) % file.interval:
        raise UserError(
            f"chain.history.{pair}: {path} has candles of {file.interval.total_seconds():g} s up to "
            f"{to_wire(file.last)}; they must be of chain.candle_seconds = {settings.candle_seconds}, on its grid"
        )
    return tuple(file.candles())


def _no_files(settings: MarketSettings) -> None:
    if settings.replay or settings.reference or settings.series:
        raise UserError(
            f'market.kind = "{settings.kind}": files are given under market.replay, .reference or .series; use "replay"'
        )


def make_market(settings: MarketSettings, pinned: dict[str, Any] | None) -> ReplayMarket | DemoMarket:
    """The market of the settings, where its past is at hand; a demo without a seed has the log's, or draws one."""
    if settings.kind == "chain":
        raise UserError("the chain has no past to run over: give candles as files (forestay backtest SPEC --data ...)")
    if settings.kind == "demo":
        _no_files(settings)
    if settings.kind == "replay":
        if settings.seed is not None:
            raise UserError("market.seed: only the demo market has one")
        if unknown := sorted(set(settings.reference) - set(settings.replay)):
            raise UserError(f"market.reference: {unknown[0]} is not among the replayed pairs")
        files = {pair: open_candles(Path(name), pair) for pair, name in settings.replay.items()}
        references = {pair: open_candles(Path(name), pair) for pair, name in settings.reference.items()}
        series = {name: open_series(Path(path), name) for name, path in settings.series.items()}
        notes = [(file.path, file.notes) for file in (*files.values(), *references.values())]
        for path, said in (*notes, *((one.path, one.notes) for one in series.values())):
            for note in said:
                log.warning("%s: %s", path, note)
        return ReplayMarket(files, references, series)
    seed = settings.seed
    if seed is None:
        known = pinned if pinned and pinned.get("kind") == "demo" else None
        seed = int(known["seed"]) if known else secrets.randbelow(2**32)
    return DemoMarket(seed)


def _same_market(now: dict[str, Any], genesis: Genesis, settings: Settings, path: Path) -> None:
    if genesis.agent != settings.machine.agent:
        raise UserError(f"agent = {settings.machine.agent!r}: the log {path} is of agent {genesis.agent!r}")
    if now == genesis.market:
        return
    then = genesis.market
    for key in sorted({*now, *then}, key=lambda key: (key != "kind", key)):
        if now.get(key) != then.get(key):
            raise UserError(
                f"market: this log began on {key} = {then.get(key)}, the settings now say {now.get(key)}. "
                f"A log keeps its market ({path}): take the old settings, or another data_dir."
            )
