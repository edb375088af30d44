"""A real EVM: anvil as a process of its own, and a small client that blocks.

`with anvil() as chain:` starts one on a free port of the loopback; when the block ends, the process is gone. A test
asks it by `chain.rpc` and hands `chain.url` to the code under test, synchronous or not.

It mines a block for each transaction, one second of chain time after the one before, whatever the machine's clock
says. It has no base fee, like BNB Smart Chain; its gas price is 1 gwei. `test_anvil.py` says where it is softer than a
real node.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import IO, Any, Final

import httpx
from eth_abi.abi import decode, encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

MODULES: Final = Path(__file__).parent / "node_modules"
BINARY: Final = MODULES / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"
CHAIN_ID: Final = 56
GENESIS: Final = 1_262_304_000  # 2010: before any candle that a path may follow
RICH: Final = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"  # anvil's first account: it signs for it, unasked
FLAGS: Final = (
    *("--port", "0", "--no-cors", "--chain-id", str(CHAIN_ID), "--timestamp", str(GENESIS)),
    *("--accounts", "1", "--block-base-fee-per-gas", "0"),
)
ROOM: Final = 64  # empty blocks upon a loaded state, so that a reorg finds something to replace
SECONDS: Final = 60.0  # a bound against hanging, not a figure
Receipt = dict[str, Any]


class NotSetUp(Exception):
    """Something that the tests on a real EVM need is not there; says how to get it."""


class RpcError(Exception):
    """The node answered with an error."""

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        super().__init__(f"{method}: {error['message']}")
        self.code: int = error["code"]
        self.message: str = error["message"]


class SnapshotLost(Exception):
    """There is no way back to a snapshot."""


class Reverted(Exception):
    """A transaction is in a block, and has failed there."""

    def __init__(self, receipt: Receipt) -> None:
        super().__init__(f"transaction {receipt['transactionHash']} reverted")
        self.receipt = receipt


class Anvil:
    """A node that runs, and what tests ask of it."""

    def __init__(self, url: str, pid: int, client: httpx.Client) -> None:
        self.url = url
        self.pid = pid
        self._client = client

    def rpc(self, method: str, *params: Any) -> Any:
        """The node's answer to one request. Raises RpcError."""
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self._client.post(self.url, json=asked).json()
        if "error" in answer:
            raise RpcError(method, answer["error"])
        return answer["result"]

    def rpc_batch(self, calls: Iterable[tuple[str, Sequence[Any]]]) -> list[Any]:
        """The node's answers to many requests at once. Raises RpcError for the first that it answers with an error."""
        asked = [
            {"jsonrpc": "2.0", "id": n, "method": method, "params": params} for n, (method, params) in enumerate(calls)
        ]
        answers = sorted(self._client.post(self.url, json=asked).json(), key=lambda answer: int(answer["id"]))
        for call, answer in zip(asked, answers, strict=True):
            if "error" in answer:
                raise RpcError(str(call["method"]), answer["error"])
        return [answer["result"] for answer in answers]

    # Blocks and time

    @property
    def block_number(self) -> int:
        return quantity(self.rpc("eth_blockNumber"))

    @property
    def timestamp(self) -> int:
        """When the last block was mined, by the chain's own time."""
        return quantity(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"])

    def mine(self, blocks: int = 1, *, at: int | None = None) -> None:
        """Mine what is pending into the first of so many blocks, which is of the time `at`."""
        if at is not None:
            self.next_block_at(at)
        self.rpc("anvil_mine", hex(blocks))

    def next_block_at(self, timestamp: int) -> None:
        """The next block will be of this time, which must be later than the last one's."""
        self.rpc("evm_setNextBlockTimestamp", timestamp)

    def mine_by_itself(self, on: bool) -> None:
        """Whether each transaction gets its block at once. Once on again, what was pending is mined, soon."""
        self.rpc("evm_setAutomine", on)

    @contextmanager
    def mining_paused(self) -> Iterator[None]:
        """Inside the block transactions stay pending until `mine()`."""
        self.mine_by_itself(False)
        try:
            yield
        finally:
            self.mine_by_itself(True)

    def snapshot(self) -> str:
        """Remember the state. A snapshot is good for one `revert`, and for none once a reorg has reached below it."""
        return str(self.rpc("evm_snapshot"))

    def revert(self, snapshot: str) -> None:
        """Back to the blocks, balances and time of then; what is pending stays so, and a pause stays a pause. Raises
        SnapshotLost, after which the chain may be good for nothing."""
        try:
            done = self.rpc("evm_revert", snapshot)
        except RpcError as error:
            raise SnapshotLost(str(error)) from error
        if not done or self.rpc("eth_getBlockByNumber", "latest", False) is None:
            raise SnapshotLost(snapshot)

    def reorg(self, depth: int) -> None:
        """Replace the last `depth` blocks by empty ones. Their transactions are gone till somebody sends them again."""
        self.rpc("anvil_reorg", depth, [])

    def dump(self) -> bytes:
        """The state, for `anvil(state=...)`."""
        return gzip.decompress(bytes.fromhex(self.rpc("anvil_dumpState")[2:]))

    # Transactions

    def call(self, to: str, signature: str, *arguments: Any, returns: str, block: str = "latest") -> tuple[Any, ...]:
        """What a contract's function answers; `returns` are its types. Raises RpcError where it reverts."""
        answer = self.rpc("eth_call", {"to": to, "data": calldata(signature, *arguments)}, block)
        return decode(types(f"({returns})"), bytes.fromhex(answer[2:]))

    def send(self, sender: str, to: str | None, data: str = "0x", *, value: int = 0, gas: int | None = None) -> str:
        """Send a transaction from an account that the node signs for; its hash. Raises RpcError where it would revert,
        unless `gas` says not to try it first. Half is added to what the trial took: the block may write more."""
        transaction = {"from": sender, "data": data, "value": hex(value)} | ({} if to is None else {"to": to})
        limit = quantity(self.rpc("eth_estimateGas", transaction)) * 3 // 2 if gas is None else gas
        return str(self.rpc("eth_sendTransaction", transaction | {"gas": hex(limit)}))

    def send_signed(self, raw: bytes) -> str:
        """Send what somebody signed; its hash."""
        return str(self.rpc("eth_sendRawTransaction", "0x" + raw.hex()))

    def receipt(self, tx_hash: str) -> Receipt | None:
        """None as long as no block holds it."""
        answer: Receipt | None = self.rpc("eth_getTransactionReceipt", tx_hash)
        return answer

    def mined(self, tx_hash: str) -> Receipt:
        """Wait for the block that holds it. Raises Reverted."""
        until = monotonic() + SECONDS
        while (receipt := self.receipt(tx_hash)) is None:
            assert monotonic() < until, f"no block holds {tx_hash}"
        if receipt["status"] != "0x1":
            raise Reverted(receipt)
        return receipt

    def do(self, sender: str, to: str, signature: str, *arguments: Any, value: int = 0) -> Receipt:
        """Send a call of a contract's function and wait for its block."""
        return self.mined(self.send(sender, to, calldata(signature, *arguments), value=value))

    def deploy(self, code: bytes) -> str:
        """Deploy a contract; its address."""
        receipt = self.mined(self.send(RICH, None, "0x" + code.hex()))
        return to_checksum_address(receipt["contractAddress"])

    def drop(self, tx_hash: str) -> None:
        """Make the node forget a pending transaction; one that waits behind a gap of nonces it does not forget."""
        self.rpc("anvil_dropTransaction", tx_hash)

    # State by decree. It belongs to no transaction, so a reorg to before it takes it back.

    def balance(self, address: str) -> int:
        return quantity(self.rpc("eth_getBalance", address, "latest"))

    def nonce(self, address: str, block: str = "latest") -> int:
        return quantity(self.rpc("eth_getTransactionCount", address, block))

    def set_balance(self, address: str, wei: int) -> None:
        self.rpc("anvil_setBalance", address, hex(wei))

    def set_code(self, address: str, code: bytes) -> None:
        self.rpc("anvil_setCode", address, "0x" + code.hex())

    def set_storage(self, address: str, slot: int, word: int) -> None:
        self.rpc("anvil_setStorageAt", address, hex(slot), f"0x{word:064x}")

    @contextmanager
    def impersonating(self, address: str) -> Iterator[None]:
        """Inside the block the node sends for this account, too, without its key."""
        self.rpc("anvil_impersonateAccount", address)
        try:
            yield
        finally:
            self.rpc("anvil_stopImpersonatingAccount", address)


@contextmanager
def anvil(*, state: bytes | None = None) -> Iterator[Anvil]:
    """A node of its own on a free port, from genesis or from what another one dumped. Raises NotSetUp."""
    if not BINARY.exists():
        raise NotSetUp(
            f"no anvil at {BINARY}: `make test` sets it up (or: npm ci --ignore-scripts in {MODULES.parent})"
        )
    with TemporaryDirectory(prefix="anvil-") as home:
        command = [str(BINARY), *FLAGS]
        if state is not None:
            (Path(home) / "state").write_bytes(state)
            command += ["--load-state", "state"]
        # What is more than 500 blocks old goes to a file below HOME.
        process = subprocess.Popen(
            command, env={"HOME": home}, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        reader = threading.Thread(target=_read_on, args=(process.stdout,))
        try:
            url = _listening(process.stdout)
            reader.start()
            # Without the certificates, which nobody needs on the loopback and whose loading takes as long as the node.
            with httpx.Client(timeout=SECONDS, trust_env=False, verify=False) as client:
                chain = Anvil(url, process.pid, client)
                chain.rpc("anvil_setBlockTimestampInterval", 1)
                if state is not None:
                    chain.mine(ROOM, at=chain.timestamp + 1)
                yield chain
        finally:
            process.kill()
            process.wait()
            if reader.ident:
                reader.join()
            process.stdout.close()


def _listening(output: IO[str]) -> str:
    """The address that it says it listens on."""
    said = []
    for line in output:
        if found := re.search(r"Listening on (\S+)", line):
            return f"http://{found[1]}"
        said.append(line)
    raise AssertionError(f"anvil ended before it listened: {''.join(said)}")


def _read_on(output: IO[str]) -> None:
    """Read what nobody needs: it would stop at a full pipe."""
    deque(output, maxlen=0)


def quantity(text: str) -> int:
    """A number as JSON-RPC writes it."""
    return int(text, 16)


def types(listed: str) -> list[str]:
    """The types in parentheses; tuples are not known here.

    >>> types("swap(uint256,address[])"), types("pause()")
    (['uint256', 'address[]'], [])
    """
    inside = listed[listed.index("(") + 1 : -1]
    return inside.split(",") if inside else []


def calldata(signature: str, *arguments: Any) -> str:
    """What to send to a contract to call its function.

    >>> calldata("transfer(address,uint256)", RICH, 5)[:10]
    '0xa9059cbb'
    """
    return "0x" + (keccak(text=signature)[:4] + encode(types(signature), arguments)).hex()
