"""Tells a chat what matters: `python notify.py STATE-FILE [URL]`.

NOTIFY_URL is where to, with {token} and {text} in it, as Telegram has it:

    https://api.telegram.org/bot{token}/sendMessage?chat_id=42&text={text}

NOTIFY_TOKEN is the secret. It goes into that address and nowhere else. Each message is sent at least once and in order;
STATE-FILE keeps how far it came, and in which log: of another log it knows nothing, and ends. The first time it begins
with what happens next.
"""

import os
import sys
from pathlib import Path
from urllib.parse import quote

import httpx
import trio

from protocol.events import JournalEntry
from server.client import Client

WORTH_IT = {"EXECUTED", "RISK_BREACH", "PROMOTION", "DEMOTION", "KILL", "FAILED"}
RETRY_SECONDS = 5.0


async def main(state_file: str, base: str) -> None:
    state = Path(state_file)
    log_id, since = read(state)
    async with httpx.AsyncClient() as chat, Client(base, os.environ.get("FORESTAY_SERVER__TOKEN")) as forestay:
        if since is None:  # the place is kept before anything can fail
            agent = await forestay.agent()
            log_id, since = agent.log_id, agent.seq
            write(state, f"{log_id} {since}")
        async with forestay.stream(since, log_id=log_id) as events:
            async for event in events:
                if isinstance(event, JournalEntry) and event.type in WORTH_IT:
                    await deliver(chat, f"{event.ts:%F %R} {event.type}: {event.text}")
                write(state, f"{events.log_id} {events.seq}")


async def deliver(chat: httpx.AsyncClient, text: str) -> None:
    """Until it is taken. No error is printed as it is: it could have the address in it."""
    template, secret = os.environ["NOTIFY_URL"], os.environ.get("NOTIFY_TOKEN", "")
    url = template.replace("{token}", secret).replace("{text}", quote(text, safe=""))
    while True:
        try:
            answer = await chat.post(url)
            if answer.is_success:
                return
            print(f"not taken: HTTP {answer.status_code}", file=sys.stderr, flush=True)
        except httpx.HTTPError as error:
            print(f"not taken: {type(error).__name__}", file=sys.stderr, flush=True)
        await trio.sleep(RETRY_SECONDS)


def read(state: Path) -> tuple[str | None, int | None]:
    try:
        log_id, seq = state.read_text().split()
        return log_id, int(seq)
    except FileNotFoundError:
        return None, None


def write(state: Path, text: str) -> None:
    """Whole or not at all."""
    new = state.with_suffix(".new")
    new.write_text(text)
    new.replace(state)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:8000")
