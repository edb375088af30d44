"""The guard's own settings: one file, `guard.toml`, in its folder. Nothing comes from the environment or from flags, so
that who starts the guard decides nothing about what it signs."""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Final

from attrs import field, frozen
from eth_utils.address import is_checksum_address

from protocol.codec import read_document
from protocol.errors import UserError
from protocol.limits import NOTHING, Impossible, between, matching
from protocol.signing import Way

FILE_NAME: Final = "guard.toml"


def _address(key: str, value: str) -> str:
    """An address in small letters. One in mixed letters carries a checksum, which must be right: that is how a mistyped
    address shows."""
    if not re.fullmatch(r"0x[0-9a-fA-F]{40}", value, re.ASCII):
        raise Impossible(key, value, "must be an address, 0x and 40 hex digits")
    if value[2:] not in (value[2:].lower(), value[2:].upper()) and not is_checksum_address(value):
        raise Impossible(key, value, "its mixed letters are a checksum, and it is wrong: mistyped?")
    return value.lower()


def _of_token(value: str) -> str:
    return _address("address", value)


def _of_kit(value: str | None) -> str | None:
    return None if value is None else _address("address", value)


def _of_router(value: str) -> str:
    return _address("router", value)


def _of_factory(value: str | None) -> str | None:
    return None if value is None else _address("factory", value)


@frozen
class Token:
    """A token's contract, and what it must say of itself."""

    address: str = field(converter=_of_token)
    decimals: int = field(default=18, validator=between(0, 36))

    def units(self, amount: Decimal) -> int:
        """`amount` tokens in base units, rounded down."""
        return int(Fraction(amount) * 10**self.decimals)

    def amount(self, units: int) -> str:
        """Base units as a plain decimal text, exactly.

        >>> Token("0x" + "ab" * 20, 6).amount(1_250_000)
        '1.25'
        """
        whole, part = divmod(units, 10**self.decimals)
        return f"{whole}.{part:0{self.decimals}d}".rstrip("0").rstrip(".") if self.decimals else str(whole)


@frozen
class Limits:
    """Caps are in USDT, those of gas in the chain's own coin. Days are UTC. Reaching a limit is allowed, going over it
    is not. At `daily_gas_cap` entries stop, at `daily_exit_gas_cap` (if that is more) exits, too."""

    per_trade_cap: Decimal = field(default=Decimal(50), validator=between(0, 10**9))
    daily_cap: Decimal = field(default=Decimal(200), validator=between(0, 10**9))
    slippage_pct: Decimal = field(default=Decimal("0.5"), validator=between(0, 50))
    max_deadline_seconds: int = field(default=180, validator=between(10, 3600))
    max_gas_price_gwei: Decimal = field(default=Decimal(5), validator=between(0.001, 10_000))
    max_gas: int = field(default=400_000, validator=between(21_000, 10_000_000))
    daily_gas_cap: Decimal = field(default=Decimal("0.02"), validator=between(0, 1000))
    daily_exit_gas_cap: Decimal = field(default=Decimal("0.1"), validator=between(0, 1000))

    @property
    def max_gas_price(self) -> int:
        """In wei."""
        return int(Fraction(self.max_gas_price_gwei) * 10**9)

    @property
    def daily_fees(self) -> int:
        """In wei."""
        return int(Fraction(self.daily_gas_cap) * 10**18)

    @property
    def exit_fees(self) -> int:
        """In wei. The way out is never the narrower one."""
        return int(Fraction(max(self.daily_gas_cap, self.daily_exit_gas_cap)) * 10**18)


@frozen
class TwakConfig:
    """How the Trust Wallet Agent Kit is run. `home` isolates its wallet."""

    command: tuple[str, ...] = field(
        default=("twak",), validator=matching(bool, "must be a list of texts, the program first")
    )
    address: str | None = field(default=None, converter=_of_kit)
    home: str | None = None
    quote_seconds: float = field(default=60.0, validator=between(0.1, 600))
    execute_seconds: float = field(default=240.0, validator=between(0.1, 600))


_urls = matching(
    lambda urls: bool(urls) and len(urls) <= 8 and all(url.startswith(("http://", "https://")) for url in urls),
    "must be a list of 1 to 8 http(s) addresses",
)


@frozen
class GuardConfig:
    """All that the guard goes by. `tokens` may be bought and sold for `usdt`, by way of `hops`. `allowed_uids` may
    connect (empty: the guard's own user)."""

    router: str = field(converter=_of_router)
    usdt: Token
    tokens: dict[str, Token] = field(validator=matching(bool, "must have one token at least"))
    rpc: tuple[str, ...] = field(validator=_urls, repr=False)  # an address may have an access key in it
    way: Way = "local"
    socket: str = "guard.sock"
    socket_group: str | None = None
    allowed_uids: tuple[int, ...] = ()
    chain_id: int = field(default=56, validator=between(1, 2**53))
    factory: str | None = field(default=None, converter=_of_factory)
    rpc_timeout_seconds: float = field(default=2.0, validator=between(0.1, 30))
    hops: dict[str, Token] = field(factory=dict, validator=matching(lambda hops: len(hops) <= 4, "must be 4 at most"))
    limits: Limits = Limits()
    twak: TwakConfig = TwakConfig()

    def __attrs_post_init__(self) -> None:
        if self.way == "twak" and self.twak.address is None:
            raise Impossible("twak", NOTHING, 'address: way = "twak" needs the kit\'s wallet address')
        known = {"usdt": self.usdt.address, "router": self.router}
        for name, token in (*self.tokens.items(), *self.hops.items()):
            twin = next((other for other, address in known.items() if address == token.address), None)
            if twin is not None:
                raise Impossible("tokens", NOTHING, f"{name} has the address of {twin}; each must be another contract")
            known[name] = token.address

    @property
    def by_address(self) -> dict[str, tuple[str, Token]]:
        """Everything that has balances: (symbol, token) by address."""
        named = {"USDT": self.usdt, **self.tokens, **self.hops}
        return {token.address: (symbol, token) for symbol, token in named.items()}

    @property
    def traded(self) -> frozenset[str]:
        """Addresses of the allowlisted tokens."""
        return frozenset(token.address for token in self.tokens.values())

    @property
    def between(self) -> frozenset[str]:
        """Addresses that a path may pass through."""
        return frozenset(token.address for token in self.hops.values())


def load(folder: Path) -> GuardConfig:
    """The settings of the guard in `folder`; paths in them are meant from there. Raises UserError or InvalidSetting."""
    path = folder / FILE_NAME
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; `forestay guard init` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: is not valid TOML: {error}") from None
    if isinstance(document.get("socket", "guard.sock"), str):
        document["socket"] = str(folder.absolute() / document.get("socket", "guard.sock"))
    return read_document(document, GuardConfig)
