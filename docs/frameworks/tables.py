"""Tables in Markdown, and what gradclip says in their cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradclip_cli.config import loading
from gradclip_cli.errors import ConfigError


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))


def refusal(*settings: str) -> str:
    """What gradclip says of settings that it refuses. Raises ValueError where it takes them."""
    try:
        loading.load("none", list(settings))
    except ConfigError as error:
        return str(error).split(": ", 1)[1]
    raise ValueError(f"{' '.join(settings)} is not refused")
