"""What callers give, checked as the command's options are: folders, names, seeds, numbers; and what they are warned of."""

from __future__ import annotations

import math
import operator
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

from gradclip_cli.config.seeds import parse_seeds
from gradclip_cli.errors import ConfigError, ReportError
from gradclip_cli.runs import names
from gradclip_cli.texts import for_terminal

AnyPath = str | os.PathLike[str]
Seeds = str | Iterable[int] | None
"""A text as `--seeds` takes it, or numbers."""
USUAL = Path("results")
EXPECTED = 'give numbers ([0, 1, 2], range(10)) or a text ("0-9"; "10" is the first ten)'


def results_folder(given: AnyPath) -> Path:
    """A folder of runs. Raises ReportError where there is none."""
    folder = Path(given).expanduser()
    if not folder.is_dir():
        first = f"What comes first is the folder of runs, such as {str(USUAL)!r}; gradclip run none clipvalue trains some there."
        raise ReportError(f"{names.no_folder(folder, USUAL)} {first}")
    return folder


def seeds_wanted(given: Seeds) -> list[int] | None:
    """The seeds that are meant, None for all that count. Raises ConfigError."""
    if given is None:
        return None
    if isinstance(given, str):
        return parse_seeds(given, "seeds")
    try:
        return [operator.index(seed) for seed in given]
    except TypeError:
        raise ConfigError([f"seeds={given!r}: {EXPECTED}"]) from None


def require_positive(**numbers: float | None) -> None:
    """Raises ConfigError for the first of these that is given and no positive, finite number."""
    for name, number in numbers.items():
        if number is not None and not 0 < number < math.inf:
            raise ConfigError([f"{name}={number}: give a positive number"])


def warn(messages: Iterable[str], level: int = 3) -> None:
    """Tell these as Python's warnings, as if from where the caller of the function that warns stands."""
    for message in messages:
        warnings.warn(for_terminal(message), stacklevel=level)
