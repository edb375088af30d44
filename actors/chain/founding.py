"""What a log must know of the chain before its first row: that the addresses in the settings are what they are taken
for, which pools there are, and when it begins. Looked up once; a restart finds it in the log."""

from __future__ import annotations

from typing import Any

from eth_utils.address import is_checksum_address

from actors.chain.bars import Pool, floor
from actors.chain.port import Chain, Denied, Unanswered
from protocol.errors import UserError
from protocol.settings import ChainSettings, TokenSettings
from protocol.times import to_wire


async def found(chain: Chain, settings: ChainSettings) -> dict[str, Any]:
    """What the log pins of its market. Raises UserError, naming the key that is wrong."""
    check_checksums(settings)
    try:
        head = await chain.head()
        deepest = await chain.block(max(0, head.number - settings.confirmations))
        await _check_router(chain, settings)
        await _check_token(chain, settings, "usdt", settings.usdt, "USDT")
        for symbol, token in sorted(settings.tokens.items()):
            await _check_token(chain, settings, f"tokens.{symbol}", token, symbol)
        pools = {pair: await _pool(chain, settings, pair, "factory") for pair in settings.pairs}
        references = {pair: it for pair in settings.pairs if (it := await _reference(chain, settings, pair))}
    except Unanswered as no:
        raise UserError(f"chain.rpc: {no.reason}") from None
    assert deepest is not None, "a block below the head is there"
    return {
        **pinned_by(settings),
        "begins": to_wire(floor(deepest.at, settings.candle_seconds)),
        "pools": pools,
        "references": references,
    }


def pinned_by(settings: ChainSettings) -> dict[str, Any]:
    """What the settings alone say of the market."""
    return {
        "kind": "chain",
        "chain_id": settings.chain_id,
        "candle_seconds": settings.candle_seconds,
        "factory": settings.factory.lower(),
        "usdt": {"token": settings.usdt.address.lower(), "decimals": settings.usdt.decimals},
    }


def kept(settings: ChainSettings, pinned: dict[str, Any]) -> dict[str, Any]:
    """What the log pinned, but for what the settings say otherwise by now: no network is needed for it."""
    pools, references = {}, {}
    for pair in settings.pairs:
        token = settings.tokens[pair.partition("/")[0]]
        said = {"token": token.address.lower(), "decimals": token.decimals}
        pools[pair] = {**pinned["pools"].get(pair, {}), **said}
        known = pinned["references"].get(pair)
        feed = settings.references.get(pair)
        if feed is not None:
            references[pair] = {"feed": feed.lower()}
        elif settings.reference_factory is not None:
            other = {"factory": settings.reference_factory.lower()}
            references[pair] = {**known, **other} if known is not None else other
    return {**pinned_by(settings), "begins": pinned["begins"], "pools": pools, "references": references}


def check_checksums(settings: ChainSettings) -> None:
    """An address in large and small letters says by them that it has no slip of the pen. Raises UserError."""
    addresses = {
        "router": settings.router, "factory": settings.factory, "usdt": settings.usdt.address,
        "wbnb": settings.wbnb.address, "reference_factory": settings.reference_factory,
        **{f"tokens.{symbol}": token.address for symbol, token in settings.tokens.items()},
        **{f"references.{pair}": address for pair, address in settings.references.items()},
    }  # fmt: skip
    for key, address in addresses.items():
        if address is not None and address[2:].lower() != address[2:] and not is_checksum_address(address):
            raise UserError(
                f"chain.{key} = {address}: its large and small letters are no valid checksum; look it up again, or "
                "write it in small letters"
            )


async def _check_router(chain: Chain, settings: ChainSettings) -> None:
    try:
        factory, wrapped = await chain.wiring(settings.router)
    except Denied as no:
        raise UserError(f"chain.router = {settings.router}: is no router ({no.reason})") from None
    for key, address, known in (("factory", settings.factory, factory), ("wbnb", settings.wbnb.address, wrapped)):
        if address.lower() != known:
            raise UserError(f"chain.{key} = {address}: chain.router goes by {known}")


async def _check_token(chain: Chain, settings: ChainSettings, key: str, token: TokenSettings, symbol: str) -> None:
    try:
        said = await chain.token(token.address)
    except Denied as no:
        raise UserError(f"chain.{key} = {token.address}: is no token ({no.reason})") from None
    is_the_coin = token.address.lower() == settings.wbnb.address.lower()  # it has another name where it is wrapped
    if said.decimals != token.decimals or (said.symbol != symbol and not is_the_coin):
        raise UserError(
            f"chain.{key} = {token.address}: calls itself {said.symbol!r} with {said.decimals} decimals, not {symbol} "
            f"with {token.decimals}"
        )


async def _pool(chain: Chain, settings: ChainSettings, pair: str, key: str) -> dict[str, Any]:
    """The pair's pool at the factory that the settings name by `key`."""
    factory, token = getattr(settings, key), settings.tokens[pair.partition("/")[0]]
    no = f"chain.{key} = {factory}:"
    try:
        address = await chain.pool(factory, token.address, settings.usdt.address)
    except Denied as denied:
        raise UserError(f"{no} is no factory ({denied.reason})") from None
    if address is None:
        raise UserError(f"{no} has no pool of {pair}")
    first, second = await chain.tokens_of(address)
    ours = token.address.lower()
    if {first, second} != {ours, settings.usdt.address.lower()}:
        raise UserError(f"{no} its pool of {pair} ({address}) is of {first} and {second}")
    pinned = {"pool": address, "token": ours, "decimals": token.decimals, "token_first": first == ours}
    if Pool.of(pair, pinned, settings.usdt.decimals).price(await chain.reserves(address)) is None:
        raise UserError(f"{no} its pool of {pair} ({address}) is empty, or as good as")
    return pinned


async def _reference(chain: Chain, settings: ChainSettings, pair: str) -> dict[str, Any] | None:
    if feed := settings.references.get(pair):
        try:
            await chain.answer(feed)
        except Denied as no:
            raise UserError(f"chain.references.{pair} = {feed}: is no Chainlink feed ({no.reason})") from None
        return {"feed": feed.lower()}
    if settings.reference_factory is None:
        return None
    if settings.reference_factory.lower() == settings.factory.lower():
        raise UserError("chain.reference_factory: is chain.factory; a price is no check of itself")
    pool = await _pool(chain, settings, pair, "reference_factory")
    return {**pool, "factory": settings.reference_factory.lower()}
