"""`forestay guard` and `forestay kill`: for the owner, never for the daemon."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from protocol.codec import from_json, to_json
from protocol.errors import UserError
from protocol.signing import (
    RESTORE_WORDS,
    REVOKE_WORDS,
    Answer,
    Broken,
    GuardStatus,
    Malformed,
    ReadGuard,
    Refused,
    Restore,
    Restored,
    Revoke,
    Revoked,
    Transaction,
    to_line,
    unpack,
)
from protocol.times import to_wire
from server.guard.client import SECONDS, NoGuard, ask

DEFAULT_FOLDER: Final = Path("forestay-guard")
T = TypeVar("T")
_LONGEST_PASSWORD: Final = 1024  # bytes

_dir_option = click.option(
    "--dir", "folder", type=click.Path(path_type=Path), metavar="DIR", help=f"The guard's folder [{DEFAULT_FOLDER}]."
)
_json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")
_password_option = click.option(
    "--password-fd", type=click.IntRange(0), metavar="N", help="Read the password from this descriptor [a prompt]."
)


@click.group(invoke_without_command=True)
@_dir_option
@_password_option
@click.pass_context
def guard(ctx: click.Context, folder: Path | None, password_fd: int | None) -> None:
    """The signing guard: a process of its own that holds the key and trusts nobody. Without a command it runs."""
    ctx.obj = folder or DEFAULT_FOLDER
    if ctx.invoked_subcommand is None:
        _run(ctx.obj, password_fd)


def _folder(ctx: click.Context, given: Path | None) -> Path:
    return given or Path(ctx.obj or DEFAULT_FOLDER)


@guard.command()
@_dir_option
@_password_option
@click.option(
    "--import-key-fd", type=click.IntRange(0), metavar="N", help="Take the key (hex) from this descriptor [a new one]."
)
@click.option("--scrypt-n", type=click.IntRange(2), hidden=True, help="The keystore's work factor, for tests.")
@_json_option
@click.pass_context
def init(
    ctx: click.Context,
    folder: Path | None,
    password_fd: int | None,
    import_key_fd: int | None,
    scrypt_n: int | None,
    as_json: bool,
) -> None:
    """Make a guard's folder: settings, an encrypted key, an empty ledger."""
    from server.guard import config, keystore, ledger
    from server.guard.template import TEMPLATE

    path = _folder(ctx, folder)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        for name in (keystore.FILE_NAME, ledger.FILE_NAME):
            if (path / name).exists():
                raise UserError(f"{path / name}: is there already, and is not overwritten: it may be all there is")
        key = os.urandom(32) if import_key_fd is None else _key_from(import_key_fd)
        password = _password(password_fd, confirm=True)
        if len(password) < keystore.LEAST_PASSWORD:
            raise UserError(f"the password: must be {keystore.LEAST_PASSWORD} letters at least")
        address = keystore.create(path / keystore.FILE_NAME, key, password, iterations=scrypt_n)
        ledger.Ledger.create(path / ledger.FILE_NAME, address, datetime.now(UTC))
        settings = path / config.FILE_NAME
        if not settings.exists():
            handle = os.open(settings, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(handle, "w", encoding="utf-8") as file:
                file.write(TEMPLATE)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    made = {"address": address, "settings": str(settings)}
    words = f"The guard's wallet is {address}. Read {settings}, then `forestay guard run`."
    click.echo(to_json(made).decode() if as_json else words)


@guard.command()
@_dir_option
@_password_option
@click.pass_context
def run(ctx: click.Context, folder: Path | None, password_fd: int | None) -> None:
    """Run the guard. Ctrl-C stops it in good order."""
    _run(_folder(ctx, folder), password_fd)


def _run(folder: Path, password_fd: int | None) -> None:
    from server.guard import config, keystore, process

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("forestay.guard").setLevel(logging.INFO)
    settings = config.load(folder)
    process.private(folder)
    keys = folder / keystore.FILE_NAME
    wallet = keystore.unlock(keys, _password(password_fd)) if settings.way == "local" else None
    process.run(folder, settings, wallet, os.environ)


@guard.command()
@_dir_option
@click.option("--socket", metavar="PATH", help="The guard's socket [from its settings].")
@_json_option
@click.pass_context
def status(ctx: click.Context, folder: Path | None, socket: str | None, as_json: bool) -> None:
    """How the running guard stands."""
    answer = _expect(ask(_socket(_folder(ctx, folder), socket), ReadGuard()), GuardStatus)
    if as_json:
        click.echo(to_line(answer).decode(), nl=False)
        return
    state = f"KILLED at {answer.killed_at}: {answer.killed_reason}" if answer.killed else "armed"
    lines = {
        "state": state,
        "wallet": f"{answer.address} (way {answer.way}, chain {answer.chain_id})",
        "router": answer.router,
        "allowlist": ", ".join(f"{symbol} {address}" for symbol, address in answer.allowlist.items()),
        "spent today": f"{answer.spent_today} of {answer.daily_cap} USDT, {answer.per_trade_cap} at most per trade",
        "last nonce": "none" if answer.signed_nonce is None else str(answer.signed_nonce),
        "daemon's log": f"{answer.anchor.log_id} row {answer.anchor.row}" if answer.anchor else "none seen",
    }
    click.echo("\n".join(f"{name:13} {text}" for name, text in lines.items()))


@guard.command()
@_dir_option
@_password_option
@click.option("--confirm", metavar="WORDS", help=f'"{RESTORE_WORDS}", typed here instead of at the prompt.')
@_json_option
@click.pass_context
def restore(
    ctx: click.Context, folder: Path | None, password_fd: int | None, confirm: str | None, as_json: bool
) -> None:
    """Have a killed guard sign again; needs the keystore's password."""
    path = _folder(ctx, folder)
    where = _socket(path, None)
    _confirmed(RESTORE_WORDS, confirm, aside=as_json)
    question = Restore(RESTORE_WORDS, _password(password_fd))
    answer = _expect(ask(where, question, only_of=path.stat().st_uid), Restored)
    click.echo(to_line(answer).decode().rstrip() if as_json else "Restored: the guard signs again.")


@guard.group()
def policy() -> None:
    """What the guard would sign."""


@policy.command()
@_dir_option
@click.option("--online", is_flag=True, help="Look at the chain, too, as the guard would.")
@click.argument("txfile", type=click.Path(path_type=Path))
@_json_option
@click.pass_context
def check(ctx: click.Context, folder: Path | None, online: bool, txfile: Path, as_json: bool) -> None:
    """Say what the unsigned transaction in TXFILE (JSON) does, and what each rule says to it. Nothing is signed."""
    from server.guard.checking import report

    sys.exit(report(_folder(ctx, folder), _transaction(txfile), online=online, as_json=as_json))


@click.command()
@_dir_option
@click.option("--socket", metavar="PATH", help="The guard's socket [from its settings].")
@click.option("--reason", default="a person killed it", show_default=True, help="For the record.")
@click.option("--confirm", metavar="WORDS", help=f'"{REVOKE_WORDS}", typed here instead of at the prompt.')
@_json_option
def kill(folder: Path | None, socket: str | None, reason: str, confirm: str | None, as_json: bool) -> None:
    """The kill switch: the guard signs nothing from now on. Goes to the guard directly; no daemon is needed."""
    path = folder or DEFAULT_FOLDER
    where = _socket(path, socket)
    _confirmed(REVOKE_WORDS, confirm, aside=as_json)
    question = Revoke(reason[:500])
    try:
        answer = _expect(_insisted(where, question), Revoked)
    except NoGuard as none:
        if socket is not None:
            raise
        click.echo(
            f"forestay: {none}, so nothing signs; it is written into its ledger, for when it is started", err=True
        )
        at = _kill_on_disk(path, question.reason)
        words = "Killed: the guard signs nothing when it is started, until `forestay guard restore`."
    else:
        at = answer.at
        words = f"Killed: the guard has signed nothing since {at}, and will not until `forestay guard restore`."
    click.echo(to_json({"killed_at": at}).decode() if as_json else words)


def _insisted(where: str, question: Revoke) -> Answer:
    """Ask again where a crowd at the guard's door has pushed us out: asked twice, it kills once. Raises UserError."""
    last = time.monotonic() + SECONDS
    while True:
        try:
            return ask(where, question)
        except NoGuard:
            raise
        except UserError:
            if time.monotonic() > last:
                raise
        time.sleep(0.05)


def _kill_on_disk(folder: Path, reason: str) -> str:
    """When it was killed: now, or before."""
    from server.guard import ledger
    from server.guard.books import Killed

    with ledger.only_guard(folder):
        book = ledger.Ledger(folder / ledger.FILE_NAME)
        try:
            kill = book.books.kill
            if kill is None:
                kill = book.books.kill_at(now := datetime.now(UTC), reason)
                book.append(Killed(kill.reason, to_wire(kill.at)), now, at_any_cost=True)
            return to_wire(kill.at)
        except ledger.Unwritable as error:
            raise UserError(f"{folder}: the ledger cannot be written: {error}") from None
        finally:
            book.close()


def _socket(folder: Path, given: str | None) -> str:
    from server.guard.config import load

    return given or load(folder).socket


def _expect(answer: Answer, kind: type[T]) -> T:
    """The answer, where it is of that kind. Raises UserError for every other."""
    match answer:
        case kind():
            return answer
        case Refused():
            raise UserError(f"refused ({answer.rule}): {answer.reason}")
        case Malformed() | Broken():
            raise UserError(answer.reason)
        case _:
            raise UserError(f"the guard answers something else: {answer.kind}")


def _confirmed(words: str, given: str | None, *, aside: bool = False) -> None:
    question = f'Type "{words}"'
    typed = given if given is not None else click.prompt(question, default="", show_default=False, err=aside)
    if typed != words:
        raise UserError(f'not confirmed: the words are "{words}"')


def _password(descriptor: int | None, *, confirm: bool = False) -> str:
    if descriptor is not None:
        return _read_all(descriptor).removesuffix("\n")
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True)
    return typed


def _key_from(descriptor: int) -> bytes:
    text = _read_all(descriptor).strip().removeprefix("0x")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise UserError(f"--import-key-fd {descriptor}: is no key of 64 hex digits")
    return bytes.fromhex(text)


def _read_all(descriptor: int) -> str:
    try:
        with open(descriptor, "rb", closefd=descriptor > 2) as file:
            return file.read(_LONGEST_PASSWORD).decode()
    except (OSError, UnicodeDecodeError):
        raise UserError(f"descriptor {descriptor}: cannot be read as text") from None


def _transaction(path: Path) -> Transaction:
    """An unsigned transaction out of a file, in our words or in those of JSON-RPC. Raises UserError."""
    try:
        data = from_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path}: is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: is not an object")
    named: dict[str, Any] = {_OTHER_NAMES.get(str(key), str(key)): value for key, value in data.items()}
    try:
        return unpack({key: _as_text(key, value) for key, value in named.items()}, Transaction)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


_OTHER_NAMES: Final = {"chainId": "chain_id", "gasPrice": "gas_price", "input": "data", "gasLimit": "gas"}


def _as_text(key: str, value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if key not in ("to", "data") and isinstance(value, str) and re.fullmatch(r"0x[0-9a-fA-F]+", value):
        return str(int(value, 16))
    return value
