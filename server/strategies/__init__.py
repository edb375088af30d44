"""Ready strategies: one YAML document each, named like its file."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from protocol.errors import UserError

_SUFFIX: Final = ".yaml"


def names() -> tuple[str, ...]:
    """The ready strategies, by name."""
    found = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX)))


def text(name: str) -> str:
    """A ready strategy's document, as YAML. Raises UserError where there is none of this name."""
    if name not in names():
        raise UserError(f"{name}: there is no ready strategy of this name; there are {', '.join(names())}")
    return (files(__name__) / f"{name}{_SUFFIX}").read_text(encoding="utf-8")
