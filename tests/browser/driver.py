"""The system's browser, and how it is started."""

from __future__ import annotations

import os
import shutil

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def browser_path() -> str:
    """Raises LookupError where there is none."""
    found = os.environ.get("FORESTAY_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise LookupError(f"there is no browser: install one of {', '.join(BROWSERS)}, or name it in FORESTAY_BROWSER")
    return found
