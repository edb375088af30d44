"""A log is founded on what the chain says; from then on a daemon starts whether the chain answers or not."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from eth_utils.address import to_checksum_address

from actors.chain.founding import check_checksums, found, kept
from actors.chain.rpc import RpcChain
from protocol.errors import UserError
from protocol.settings import ChainSettings, MarketSettings, TokenSettings
from server.boot import make_market
from tests.chain.endpoint import HANG, KEY, Endpoint, Error, endpoints
from tests.chain.world import (
    CAKE,
    CAKE_POOL,
    ETH,
    ETH_POOL,
    FACTORY,
    FEED,
    GENESIS,
    HOUR,
    OTHER_FACTORY,
    OTHER_POOL,
    ROUTER,
    SECOND,
    UNIT,
    USDT,
    WBNB,
    World,
    address,
    pinned,
    settings,
)
from tests.world.daemon import SECONDS, DaemonProcess


@asynccontextmanager
async def chain(world: World | None = None) -> AsyncIterator[tuple[RpcChain, Endpoint]]:
    async with endpoints(world or at_noon()) as (endpoint,):
        it = RpcChain([endpoint.url], 56, 20.0)
        try:
            yield it, endpoint
        finally:
            await it.aclose()


def at_noon() -> World:
    world = World()
    world.mine_until(GENESIS + 12 * HOUR + 1800 * SECOND, every=HOUR / 2)
    world.mine_until(GENESIS + 12 * HOUR + 1830 * SECOND, every=SECOND)
    return world


# --- looking up


async def test_pools_and_feeds_are_looked_up_and_pinned_with_the_opening_of_the_candle_under_way() -> None:
    async with chain() as (it, _):
        assert await found(it, settings()) == pinned(settings(), GENESIS + 12 * HOUR)


async def test_a_second_factory_s_pool_is_the_reference_where_there_is_no_feed() -> None:
    async with chain() as (it, _):
        chosen = settings(references={}, tokens={"ETH": TokenSettings(ETH)}, reference_factory=OTHER_FACTORY)
        said = await found(it, chosen)
        assert said["references"]["ETH/USDT"] == {
            "pool": OTHER_POOL, "token": ETH, "decimals": 18, "token_first": True, "factory": OTHER_FACTORY,
        }  # fmt: skip


async def test_the_wrapped_coin_is_traded_by_the_coin_s_name() -> None:
    async with chain() as (it, _):
        with pytest.raises(UserError, match=f"chain.factory = {FACTORY}: has no pool of BNB/USDT"):
            await found(it, settings(tokens={"BNB": TokenSettings(WBNB)}))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"router": address(9)}, f"chain.router = {address(9)}: is no router (1 (127.0.0.1): no contract at "),
        ({"factory": OTHER_FACTORY}, f"chain.factory = {OTHER_FACTORY}: chain.router goes by {FACTORY}"),
        ({"wbnb": TokenSettings(ETH)}, f"chain.wbnb = {ETH}: chain.router goes by {WBNB}"),
        ({"usdt": TokenSettings(CAKE)}, f"chain.usdt = {CAKE}: calls itself 'CAKE' with 18 decimals, not USDT with 18"),
        ({"usdt": TokenSettings(USDT, 6)}, f"chain.usdt = {USDT}: calls itself 'USDT' with 18 decimals, not USDT with"),
        ({"usdt": TokenSettings(ROUTER)}, f"chain.usdt = {ROUTER}: is no token (1 (127.0.0.1): no contract at "),
        (
            {"tokens": {"CAKE": TokenSettings(ETH)}},
            f"chain.tokens.CAKE = {ETH}: calls itself 'ETH' with 18 decimals, not CAKE",
        ),
        (
            {"references": {}, "reference_factory": OTHER_FACTORY},
            f"chain.reference_factory = {OTHER_FACTORY}: has no pool of CAKE/USDT",
        ),
        ({"references": {"ETH/USDT": ETH}}, f"chain.references.ETH/USDT = {ETH}: is no Chainlink feed"),
        (
            {"references": {}, "reference_factory": ETH},
            f"chain.reference_factory = {ETH}: is no factory (1 (127.0.0.1)",
        ),
        ({"references": {}, "reference_factory": FACTORY}, "chain.reference_factory: is chain.factory; a price is no"),
    ],
)
async def test_what_is_not_what_it_is_taken_for_is_refused_by_its_key(wrong: dict[str, Any], told: str) -> None:
    async with chain() as (it, _):
        with pytest.raises(UserError) as caught:
            await found(it, settings(**wrong))
        assert str(caught.value).startswith(told)


async def test_a_chain_that_does_not_answer_cannot_found_a_log() -> None:
    async with chain() as (it, endpoint):
        endpoint.faults["eth_call"] = Error("limit exceeded")
        with pytest.raises(
            UserError, match=r"^chain\.router = .*: is no router \(1 \(127\.0\.0\.1\): limit exceeded\)$"
        ):
            await found(it, settings())
        endpoint.chain_id = 97
        await it.aclose()
        with pytest.raises(UserError, match=r"^chain\.rpc: no endpoint answers: 1 .*: it is of chain 97, not of 56$"):
            await found(it, settings())


def test_an_address_with_a_slip_of_the_pen_is_refused() -> None:
    good = to_checksum_address("0x" + "ab12" * 10)
    check_checksums(settings(router=good))
    check_checksums(settings(router=good.lower()))
    check_checksums(ChainSettings())
    with pytest.raises(UserError, match=r"chain\.router = 0x.*: its large and small letters are no valid checksum"):
        check_checksums(settings(router=good.swapcase().replace("0X", "0x")))


# --- keeping


def test_a_restart_finds_the_same_market_in_the_log_and_what_the_settings_say_otherwise_shows() -> None:
    then = pinned(settings())
    assert kept(settings(), then) == then
    assert kept(settings(rpc=("https://elsewhere/",), confirmations=50, log_blocks=1), then) == then
    different: list[tuple[dict[str, Any], str]] = [
        ({"chain_id": 1}, "chain_id"),
        ({"candle_seconds": 60}, "candle_seconds"),
        ({"factory": OTHER_FACTORY}, "factory"),
        ({"usdt": TokenSettings(USDT, 6)}, "usdt"),
        ({"tokens": {"ETH": TokenSettings(ETH)}}, "pools"),
        ({"tokens": {"ETH": TokenSettings(WBNB), "CAKE": TokenSettings(CAKE)}}, "pools"),
        ({"references": {}}, "references"),
        ({"references": {}, "reference_factory": OTHER_FACTORY}, "references"),
    ]
    for wrong, key in different:
        now = kept(settings(**wrong), then)
        assert [it for it in now if now[it] != then[it]] == [key]


def test_a_backtest_has_no_chain_to_run_over() -> None:
    with pytest.raises(UserError, match="the chain has no past to run over: give candles as files"):
        make_market(MarketSettings("chain"), None)


# --- the daemon

FILE = f"""\
[market]
kind = "chain"
[chain]
router = "{ROUTER}"
factory = "{FACTORY}"
usdt = {{address = "{USDT}"}}
wbnb = {{address = "{WBNB}"}}
references = {{"ETH/USDT" = "{FEED}"}}
confirmations = 3
poll_seconds = 0.05
timeout_seconds = 0.5
[chain.tokens]
ETH = {{address = "{ETH}"}}
CAKE = {{address = "{CAKE}"}}
"""
Start = Callable[..., DaemonProcess]


def configured(folder: Path, text: str = FILE) -> list[str]:
    (folder / "forestay.toml").write_text(text, encoding="utf-8")
    return ["--config", str(folder / "forestay.toml")]


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(SECONDS):
        while not await trio.to_thread.run_sync(holds):
            await trio.sleep(0.02)


async def test_a_daemon_on_the_chain_settles_rounds_shows_an_outage_and_goes_on_where_it_was(
    tmp_path: Path, start_daemon: Start
) -> None:
    world, flags = at_noon(), configured(tmp_path)
    async with endpoints(world) as (endpoint,):
        env = {"FORESTAY_CHAIN__RPC": json.dumps([endpoint.url])}
        daemon = start_daemon(*flags, env=env)
        await trio.to_thread.run_sync(daemon.ready)

        def agent() -> dict[str, Any]:
            return dict(daemon.get("/agents/current").json())

        def time() -> str:
            return str(agent().get("market", {}).get("time"))  # nothing of the market while a floor starts

        def an_hour(hour: int) -> None:
            world.mine(GENESIS + hour * HOUR + 1860 * SECOND, (ETH_POOL, -UNIT), (CAKE_POOL, UNIT))
            for second in range(4):
                world.mine(GENESIS + (hour + 1) * HOUR + second * SECOND)

        def has_begun() -> bool:
            """The pools' state at the opening was read."""
            return any(method == "eth_call" and params[1] != "latest" for method, params in endpoint.asked)

        await until(has_begun)
        assert agent()["market"]["kind"] == "chain"
        an_hour(12)
        await until(lambda: time() == "2026-01-01T13:00:00.000Z")
        endpoint.faults["eth_getBlockByNumber"] = HANG
        await until(lambda: daemon.get("/readyz").status_code == 503)
        shown = str(daemon.get("/readyz").json())
        assert "no endpoint answers: 1 (127.0.0.1): no answer within 0.5 s" in shown
        endpoint.faults.clear()
        await until(lambda: daemon.get("/readyz").status_code == 200)
        an_hour(13)
        await until(lambda: time() == "2026-01-01T14:00:00.000Z")
        endpoint.faults["eth_getBlockByNumber"] = HANG  # it is stopped in the midst of a question
        assert await trio.to_thread.run_sync(daemon.terminate) == 0
        assert "STOPPED" in daemon.lines[-1]

        world.mine_until(GENESIS + 15 * HOUR, every=HOUR / 4)  # while it is off
        again = start_daemon(*flags, env=env)  # the chain does not answer yet
        await trio.to_thread.run_sync(again.listening)
        endpoint.faults.clear()
        daemon = again
        an_hour(15)
        await until(lambda: time() == "2026-01-01T16:00:00.000Z")
        told = daemon.get("/agents/current/journal?type=SKIPPED&tag=gap").json()
        assert {entry["data"]["pair"]: entry["data"]["missing"] for entry in told} == {"ETH/USDT": 1, "CAKE/USDT": 1}
        genesis = daemon.get("/agents/current/events?since=0").text
        daemon.signal(signal.SIGTERM)
        assert await trio.to_thread.run_sync(daemon.wait) == 0
    spoken = "".join([*daemon.lines, *daemon.errors, *again.errors, genesis])
    assert KEY not in spoken
    assert KEY.encode() not in everything_in(tmp_path)


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_a_log_of_the_chain_keeps_its_market_and_a_log_of_another_is_not_continued_on_it(
    tmp_path: Path, start_daemon: Start
) -> None:
    async with endpoints(at_noon()) as (endpoint,):
        env = {"FORESTAY_CHAIN__RPC": json.dumps([endpoint.url])}
        first = start_daemon(*configured(tmp_path), env=env)
        await trio.to_thread.run_sync(first.ready)
        await trio.to_thread.run_sync(first.terminate)
        other = start_daemon(*configured(tmp_path, FILE.replace("poll", "candle_seconds = 60\npoll")), env=env)
        assert await trio.to_thread.run_sync(other.wait) == 2
        assert "market: this log began on candle_seconds = 3600, the settings now say 60" in "".join(other.errors)
        demo = start_daemon("--market", "demo", data_dir=tmp_path / "demo")
        await trio.to_thread.run_sync(demo.ready)
        await trio.to_thread.run_sync(demo.terminate)
        asked = len(endpoint.asked)
        wrong = start_daemon(*configured(tmp_path), data_dir=tmp_path / "demo", env=env)
        assert await trio.to_thread.run_sync(wrong.wait) == 2
        assert "market: this log began on kind = demo, the settings now say chain" in "".join(wrong.errors)
        assert len(endpoint.asked) == asked


async def test_a_first_start_without_the_chain_is_one_clear_line(tmp_path: Path, start_daemon: Start) -> None:
    env = {"FORESTAY_CHAIN__RPC": f'["http://127.0.0.1:1/{KEY}"]'}
    daemon = start_daemon(*configured(tmp_path), env=env)
    assert await trio.to_thread.run_sync(daemon.wait) == 2
    told = "".join(daemon.errors)
    assert "forestay: chain.rpc: no endpoint answers: 1 (127.0.0.1): the connection was refused\n" in told
    assert KEY not in told
    assert "Traceback" not in told


async def test_history_of_another_interval_is_refused(tmp_path: Path, start_daemon: Start) -> None:
    rows = "".join(f"{2026}-01-01T{hour:02}:00:00Z,1,1,1,1,1\n" for hour in range(0, 12, 2))
    (tmp_path / "eth.csv").write_text("time,open,high,low,close,volume\n" + rows, encoding="utf-8")
    text = FILE + '[chain.history]\n"ETH/USDT" = "eth.csv"\n'
    daemon = start_daemon(*configured(tmp_path, text), env={"FORESTAY_CHAIN__RPC": '["http://127.0.0.1:1/"]'})
    assert await trio.to_thread.run_sync(daemon.wait) == 2
    assert "chain.history.ETH/USDT: " in "".join(daemon.errors)
    assert "has candles of 7200 s up to 2026-01-01T12:00:00.000Z" in "".join(daemon.errors)
