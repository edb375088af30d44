"""Where a daemon is, and the token that is shown to it and to nobody else."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from attrs import field, frozen

DEFAULT: Final = "http://127.0.0.1:8000"


@frozen
class Address:
    """`base` without a slash at its end. The token has no place in a text: not in this one's, and not in an error's."""

    base: str
    token: str | None = field(repr=False)

    @classmethod
    def of(cls, base: str, token: str | None) -> Address:
        """Raises ValueError where `base` is no address of a daemon."""
        try:
            parts = urlsplit(base)
            known = parts.scheme in ("http", "https", "ws", "wss") and parts.hostname and (parts.port or True)
            (parts.hostname or "").encode("idna")  # a label of it may be empty or too long
        except ValueError:
            known = False
        if not known or parts.query or parts.fragment:
            raise ValueError(f"{base!r}: must be like {DEFAULT}")
        if "@" in parts.netloc:
            raise ValueError("(a URL with a password): a token is given by itself, not in the address")
        secure = parts.scheme in ("https", "wss")
        return cls(f"{'https' if secure else 'http'}://{parts.netloc}{parts.path.rstrip('/')}", token)

    @property
    def secure(self) -> bool:
        return self.base.startswith("https")

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def clean(self, text: str) -> str:
        """A text from outside, one that may repeat what it was shown."""
        return text.replace(self.token, "(the token)") if self.token else text
