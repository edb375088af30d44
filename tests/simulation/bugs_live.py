"""Bugs planted in what trades live. They are seen in live worlds, where somebody promotes the agent."""

from __future__ import annotations

from functools import partial
from typing import Final

from tests.simulation.planted import Bug

PURSUIT: Final = "actors/twak_signer/pursuit.py"
LIVE: Final = "actors/executor/live.py"
EXECUTOR: Final = "actors/executor/actor.py"
_bug = partial(Bug, live=True)
BUGS: Final[tuple[Bug, ...]] = (
    _bug(
        "sent-before-the-log-knows-it",
        "26",
        PURSUIT,
        "            case Signed():\n                return await self._signature(order, leg, answer)",
        "            case Signed():\n"
        "                await self.chain.send(bytes.fromhex(answer.raw.removeprefix('0x')))\n"
        "                return await self._signature(order, leg, answer)",
        "It saves half a second. Seen at the first signature: what is sent is in no log.",
    ),
    _bug(
        "a-second-name-for-a-second-try",
        "25",
        PURSUIT,
        "SignTransaction(intent_of(order, leg), tx, anchor)",
        'SignTransaction(f"{intent_of(order, leg)}.{tx.nonce}", tx, anchor)',
        "A name that is unique seemed safer. Seen when the answer is lost: nobody recalls it, and the nonce is taken.",
    ),
    _bug(
        "nothing-is-recalled",
        "28",
        PURSUIT,
        '        legs: tuple[Leg, ...] = ("swap",) if order.state == "approved" else ("swap", "approval")',
        "        legs: tuple[Leg, ...] = ()",
        "The guard gives the same answer to the same question. Seen when the answer is lost and the gas price is "
        "another one by then: the order lapses, and what is signed for it may still be mined.",
    ),
    _bug(
        "first-receipt-is-believed",
        "31",
        PURSUIT,
        "        if head.number - receipt.block < self.settings.confirmations:\n            return None\n",
        "",
        "A receipt is a receipt. Seen when the block is taken back by a reorganisation.",
    ),
    _bug(
        "usurped-at-first-sight",
        "32",
        PURSUIT,
        "            if head.number - deep.block <= self.settings.confirmations or await",
        "            if head.number - deep.block < 0 and await",
        "The nonce is used and there is no receipt. Seen when the two are read from endpoints that are not at one.",
    ),
    _bug(
        "replacement-at-five-percent",
        "27",
        PURSUIT,
        'BIDDING: Final = Decimal("1.125")',
        'BIDDING: Final = Decimal("1.05")',
        "Gas is dear. Seen at the first replacement: pools and the guard want 10 % at least.",
    ),
    _bug(
        "what-the-kit-cannot-say-was-not-sent",
        "28",
        PURSUIT,
        "        if isinstance(said, NotSent):\n",
        "        if isinstance(said, NotSent | Unknown):\n",
        "It had timed out. Seen when the kit had sent it all the same.",
    ),
    _bug(
        "bound-is-only-what-is-quoted-now",
        "33",
        PURSUIT,
        "            least = max(order.intended.min_received, int(quoted * (1 - order.intended.slippage)))",
        "            least = int(quoted * (1 - order.intended.slippage))",
        "The router's quote is the fresher one. Seen when the price has fallen before the signature, though by less "
        "than the slippage.",
    ),
    _bug(
        "an-hour-more-for-the-deadline",
        "33",
        "actors/twak_signer/transactions.py",
        "            _word(intended.deadline),\n",
        "            _word(intended.deadline + 3600),\n",
        "Blocks are slow at times. Seen when a swap is mined after what the log says.",
    ),
    _bug(
        "gas-of-what-was-reverted-is-not-booked",
        "29",
        LIVE,
        "    moved = {NATIVE: -row.gas_units, order",
        "    moved = {NATIVE: -row.gas_units if row.success else 0, order",
        "It moved nothing. Seen when a swap is reverted: the ledger has more gas than the wallet.",
    ),
    _bug(
        "what-was-spent-is-booked-twice",
        "29",
        LIVE,
        "        units[token] = Units(units.get(token, Units(0)) + by)\n",
        "        units[token] = Units(max(0, units.get(token, Units(0)) + (by if token == NATIVE else 2 * by)))\n",
        "Once when it was signed, once when it was mined, in a version that never was. Seen at the first swap.",
    ),
    _bug(
        "selling-out-is-not-in-the-checkpoint",
        "21",
        EXECUTOR,
        "                return to_plain(self._desk.settled)",
        "                plain = to_plain(self._desk.settled)\n"
        '                return {**plain, "live": {**plain["live"], "flattening": None}}',
        "A matter of seconds. Seen when a checkpoint is restored while all is being sold.",
    ),
    _bug(
        "open-live-orders-are-not-in-the-checkpoint",
        "29",
        EXECUTOR,
        "                return to_plain(self._desk.settled)",
        "                plain = to_plain(self._desk.settled)\n"
        '                return {**plain, "live": {**plain["live"], "orders": {}}}',
        "They end by themselves. Seen when a checkpoint is restored while one is open.",
    ),
    _bug(
        "kill-is-answered-before-the-guard-has-heard",
        "43",
        "actors/twak_signer/actor.py",
        "                answer = await armed.guard.ask(Revoke(message.reason))\n",
        '                answer = Revoked("2026-01-01T00:00:00.000Z")\n',
        "A kill must be quick. Seen at the first kill through the door.",
    ),
    _bug(
        "any-name-lifts-the-lock",
        "20",
        "actors/risk_engine/moves.py",
        "    if lock is None or lock.demotion != demotion:\n",
        "    if lock is None:\n",
        "There is only one lock. Seen when an act names another demotion.",
    ),
    _bug(
        "frozen-is-for-selling-out-only",
        "32",
        EXECUTOR,
        '        if live.frozen is not None:\n            return Refusal("frozen", live.frozen)\n',
        "",
        "A kill takes the agent out of LIVE anyway. Seen when the nonce was usurped, and the strategy wishes to buy.",
    ),
    _bug(
        "what-is-intended-goes-on-when-all-is-frozen",
        "32",
        PURSUIT,
        "        if frozen is not None and not (await self.status()).killed:",
        "        if False:",
        "It was so: nothing new was intended. Seen when the nonce of the order before it was usurped.",
    ),
    _bug(
        "opened-at-the-marks-of-the-preflight",
        "34",
        "actors/strategist/actor.py",
        "            act = act.opening(live.book.equity, live.book.cash)  # rounds",
        "            # rounds",
        "The preflight has just looked. Seen when a round settles before the promotion, and the book holds something.",
    ),
    _bug(
        "an-order-waits-as-long-as-the-next-try",
        "29",
        EXECUTOR,
        "            await trio.sleep(PERIOD_SECONDS)\n",
        "            await trio.sleep(max(PERIOD_SECONDS, again_at - trio.current_time()))\n",
        "It was so. Seen when sales have failed until tries are farther apart than a deadline: nothing is sold.",
        "tests/live/test_floors.py",
    ),
)
