"""The settings of the chain: what cannot be is refused by name, and no URL is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.errors import InvalidSetting
from server.settings import Settings, load
from server.template import TEMPLATE
from tests.chain.world import USDT

URL = "https://node.example.org/v3/s3cr3tkey"


def read(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    path = folder / "forestay.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ or {}, {})


def refused(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(InvalidSetting) as caught:
        read(folder, text, environ)
    assert "s3cr3tkey" not in str(caught.value)
    return str(caught.value)


def test_the_defaults_are_bnb_smart_chain_and_a_file_may_name_anything_else(tmp_path: Path) -> None:
    usual = read(tmp_path, "").machine.chain
    assert (usual.chain_id, usual.pairs) == (56, ("BNB/USDT", "CAKE/USDT", "ETH/USDT", "LINK/USDT"))
    assert set(usual.references) == set(usual.pairs)
    own = read(
        tmp_path,
        f"[market]\nkind = 'chain'\n[chain]\nrpc = ['{URL}']\nchain_id = 31337\nreferences = {{}}\n"
        f"tokens = {{ETH = {{address = '{USDT}', decimals = 6}}}}\nhistory = {{'ETH/USDT' = 'eth.csv'}}",
    ).machine
    assert own.market.kind == "chain"
    assert own.chain.tokens["ETH"].decimals == 6
    assert own.chain.history == {"ETH/USDT": str(tmp_path / "eth.csv")}, "meant from where the file is"
    assert "s3cr3tkey" not in repr(own)


def test_the_endpoints_may_come_from_the_environment(tmp_path: Path) -> None:
    environ = {"FORESTAY_CHAIN__RPC": f'["{URL}", "http://[::1]:8545"]', "FORESTAY_MARKET__KIND": "chain"}
    assert read(tmp_path, "", environ).machine.chain.rpc == (URL, "http://[::1]:8545")


def test_the_template_s_chain_is_the_default(tmp_path: Path) -> None:
    assert read(tmp_path, TEMPLATE).machine.chain == read(tmp_path, "").machine.chain


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[market]\nkind = 'chain'", "chain.rpc: the chain market needs at least one URL; better in"),
        (f"[chain]\nrpc = '{URL}'", "chain.rpc: must be a list of texts"),
        (f"[chain]\nrpc = ['{URL}', 7]", "chain.rpc: must be a list of texts"),
        (f"[chain]\nrpc = ['{URL}', '{URL}']", "chain.rpc: must be a list of different http or https URLs, 8 at most"),
        ("[chain]\nrpc = ['ws://s3cr3tkey']", "chain.rpc: must be a list of different http or https URLs, 8 at most"),
        ("[chain]\nrpc = ['https://a b/s3cr3tkey']", "chain.rpc: must be a list of different http or https URLs"),
        ("[chain]\nrpc = ['https://']", "chain.rpc: must be a list of different http or https URLs, 8 at most"),
        (f"[chain]\nrcp = ['{URL}']", "chain.rcp = (a URL): unknown key; valid keys are rpc, chain_id"),
        (f"[chian]\nrpc = ['{URL}']", "chian = (a URL): unknown key"),
        ("[chain]\nchain_id = 0", "chain.chain_id = 0: must be from 1"),
        ("[chain]\nrouter = '0x12'", "chain.router = '0x12': must be an address: 0x and 40 hex digits"),
        ("[chain]\nusdt = {address = 'x'}", "chain.usdt.address = 'x': must be an address"),
        ("[chain]\ntokens = {}", "chain.tokens = {}: must have at least one token, such as ETH"),
        (f"[chain]\ntokens = {{eth = {{address = '{USDT}'}}}}", "chain.tokens = 'eth': must be tokens by symbol"),
        (f"[chain]\ntokens = {{USDT = {{address = '{USDT}'}}}}", "chain.tokens = 'USDT': must be tokens by symbol"),
        (
            f"[chain]\ntokens = {{ETH = {{address = '{USDT}', decimals = 40}}}}",
            "chain.tokens[ETH].decimals = 40: must be from 0 to 36",
        ),
        ("[chain]\nreferences = {'ETH/USDT' = '0x1'}", "chain.references = {'ETH/USDT': '0x1'}: must be addresses by"),
        ("[chain]\ncandle_seconds = 7000", "chain.candle_seconds = 7000: must divide a day, from 10 to 86400"),
        ("[chain]\ncandle_seconds = 0", "chain.candle_seconds = 0: must divide a day, from 10 to 86400"),
        ("[chain]\nconfirmations = -1", "chain.confirmations = -1: must be from 0 to 10000"),
        ("[chain]\nlog_blocks = 0", "chain.log_blocks = 0: must be from 1 to 100000"),
        ("[chain]\ntimeout_seconds = 11", "chain.timeout_seconds = 11.0: must be from 0.1 to 10"),
        ("[chain]\norphaned = ['0x12']", "chain.orphaned = ('0x12',): must be a list of block hashes"),
        (
            f"[market]\nkind = 'chain'\n[chain]\nrpc = ['{URL}']\nhistory = {{'BTC/USDT' = 'a.csv'}}",
            "chain.history = 'BTC/USDT': must be of pairs out of BNB/USDT, CAKE/USDT",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_its_key_and_no_url_is_shown(tmp_path: Path, text: str, told: str) -> None:
    assert refused(tmp_path, text).startswith(told)


def test_a_misspelt_variable_does_not_show_the_url_it_holds(tmp_path: Path) -> None:
    assert refused(tmp_path, "", {"FORESTAY_RPC": URL}).startswith("FORESTAY_RPC = (a URL): unknown key")
