"""YAML that people write: plain data, or what is wrong with it."""

from __future__ import annotations

from typing import Any, Final

import yaml

MAX_DEPTH: Final = 16
# PyYAML means YAMLError, but dies of others on texts such as "!!bool abc", "!!int ''" or "2026-02-30".
_DIES_OF: Final = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError)


class NotYaml(ValueError):
    """`line` counts from 1 and is None where none is to blame."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line


def plain_yaml(text: str) -> Any:
    """Raises NotYaml."""
    try:
        _look_over(text)
        return yaml.safe_load(text)
    except NotYaml:
        raise
    except _DIES_OF as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        reason = f"is not valid YAML: {problem or 'it cannot be read'}"
        raise NotYaml(reason, mark.line + 1 if mark else None) from None


def _look_over(text: str) -> None:
    """No depths and no aliases, by which a short text becomes a huge document, and no text that UTF-8 has not.
    Raises NotYaml, and what PyYAML raises."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > MAX_DEPTH:
            raise NotYaml(f"aliases, and more than {MAX_DEPTH} levels, have no place in it")
        if isinstance(event, yaml.ScalarEvent):
            event.value.encode()  # an escape can make half a character: UnicodeEncodeError is a ValueError
