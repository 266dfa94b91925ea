"""Lists of seeds: read as users write them, and written in short."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gradclip_cli.config.yaml_tree import shortened
from gradclip_cli.errors import ConfigError
from gradclip_cli.limits import MOST_SEED

MOST_SEEDS = 100_000
EXPECTED = "expected a count (10), a range (0-9) or a list (1,5,7)"
TOO_HIGH = f"seeds go up to {MOST_SEED:,}"


def parse_seeds(text: str, where: str = "--seeds") -> list[int]:
    """Read a seed list: `10` (the first ten: 0 to 9), `0-9`, or `1,5,7`; parts combine, as in `0-4,7`.

    Raises ConfigError for anything else, an empty range, over 100,000 seeds, or one that no config may have; `where` says what
    was written.
    """
    try:
        return _seeds(text.replace(" ", "").split(","))
    except ValueError as error:
        raise ConfigError([f"{where} {shortened(text)}: {error}"]) from None


def _seeds(parts: Sequence[str]) -> list[int]:
    ranges = [_range(part, alone=len(parts) == 1) for part in parts if part]
    if not ranges:
        raise ValueError(f"no seeds; {EXPECTED}")
    if sum(map(len, ranges)) > MOST_SEEDS:
        raise ValueError(f"over {MOST_SEEDS:,} seeds")
    if max(seeds[-1] for seeds in ranges) > MOST_SEED:
        raise ValueError(TOO_HIGH)
    return list(dict.fromkeys(seed for seeds in ranges for seed in seeds))


def _range(part: str, *, alone: bool) -> range:
    """One part of a list; a number that stands alone is a count."""
    match = re.fullmatch(r"0*([0-9]+)(?:-(-?)0*([0-9]+))?", part)
    if not match:
        raise ValueError(EXPECTED)
    if any(len(number) > len(str(MOST_SEED)) for number in (match[1], match[3] or "")):
        raise ValueError(TOO_HIGH)
    first = int(match[1])
    last = int(f"{match[2]}{match[3]}") if match[3] else first
    if alone and not match[3]:
        first, last = 0, first - 1
    if last < first:
        raise ValueError("the range is empty; write its smaller seed first, or a count of at least 1")
    return range(first, last + 1)


def seed_list(seeds: Sequence[int]) -> str:
    """Seeds in short, such as 0-4, 7."""
    parts: list[list[int]] = []
    for seed in sorted(seeds):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def named_seeds(seeds: Sequence[int]) -> str:
    """Seeds as they are called in a sentence, such as seed 3 or seeds 3-5."""
    return f"seed{'' if len(seeds) == 1 else 's'} {seed_list(seeds)}"
