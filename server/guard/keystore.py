"""The wallet's key: encrypted on the disk, in the clear only in this process, and in nothing that it prints."""

from __future__ import annotations

import ctypes
import json
import os
import resource
from pathlib import Path
from typing import Any, Final

from eth_account import Account
from eth_utils.address import to_checksum_address

from protocol.errors import UserError
from protocol.signing import Signed, Transaction

FILE_NAME: Final = "keystore.json"
LEAST_PASSWORD: Final = 8  # letters
_PR_SET_DUMPABLE: Final = 4


class Wallet:
    """A key that signs. It shows its address and nothing else."""

    __slots__ = ("_account", "address")

    def __init__(self, key: bytes) -> None:
        self._account = Account.from_key(key)
        self.address: str = self._account.address.lower()

    def __repr__(self) -> str:
        return f"Wallet({self.address})"

    def __reduce__(self) -> Any:
        raise TypeError("a wallet stays where it is")

    def sign(self, tx: Transaction) -> Signed:
        """The signed bytes; the same ones each time (RFC 6979)."""
        signed = self._account.sign_transaction(
            {
                "chainId": tx.chain_id,
                "nonce": tx.nonce,
                "to": to_checksum_address(tx.to),
                "value": tx.value,
                "data": tx.data,
                "gas": tx.gas,
                "gasPrice": tx.gas_price,
            }
        )
        return Signed("0x" + signed.raw_transaction.hex(), "0x" + signed.hash.hex())


def create(path: Path, key: bytes, password: str, *, iterations: int | None = None) -> str:
    """Write the key's encrypted file (scrypt, 0600); the wallet's address. Raises FileExistsError."""
    document = Account.encrypt(key, password, kdf="scrypt", iterations=iterations)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(handle, "w", encoding="utf-8") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(handle)
    return Wallet(key).address


def unlock(path: Path, password: str) -> Wallet:
    """Raises UserError: no such file, or not the password."""
    try:
        return Wallet(Account.decrypt(_read(path), password))
    except UserError:
        raise
    except Exception:  # the library's own errors; none of their words are repeated
        raise UserError(f"{path}: the password does not open it") from None


def address_in(path: Path) -> str:
    """The wallet's address, without the password. Raises UserError."""
    address = str(_read(path).get("address", "")).lower().removeprefix("0x")
    if len(address) != 40:
        raise UserError(f"{path}: is no keystore: it names no address")
    return "0x" + address


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no keystore; `forestay guard init` makes one") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no JSON"
        raise UserError(f"{path}: cannot be read: {reason}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: is no keystore")
    return document


def keep_to_itself() -> None:
    """Let no core dump and no other process of this user read this one's memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
