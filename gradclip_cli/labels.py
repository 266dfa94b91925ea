"""Long names made short enough for a table or a picture, what they share said once, and never two alike. Pure functions."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

SHORT = 24  # letters; names that are no longer are left whole
ELLIPSIS = "…"
WORTH_SAYING = 4
"""Letters that a pattern must save each name, to be said once instead."""
# Where a name may be divided: not within a number such as 1e-05 or -1.
_BOUNDARY = re.compile(r"[+/=,:( ]|(?<=\w)(?<!\d[eE])-")


def split_beginning(names: Sequence[str], most: int = SHORT) -> tuple[str, list[str]]:
    """The part that all names begin with, to be said once, and what is left of each name, in their order.

    Nothing is shared where every name has at most `most` letters, or where a name would be left with nothing.
    """
    shared = _common_prefix(names)
    if len(set(names)) < 2 or max(map(len, names)) <= most:
        shared = ""
    ends = [found.end() for found in _BOUNDARY.finditer(shared) if all(len(name) > found.end() for name in names)]
    cut = max(ends, default=0)
    return shared[:cut], [name[cut:] for name in names]


def split_pattern(names: Sequence[str]) -> tuple[str, list[str]]:
    """A pattern of what all names share, and what of each stands for its stars; no pattern where little is shared.

    `none+optimizer.learning_rate=1` and `agc-0.1+optimizer.learning_rate=3` share `*+optimizer.learning_rate=*`.
    """
    split = [name.split("+") for name in names]
    if len(set(names)) < 2 or len({len(parts) for parts in split}) > 1:
        return "", list(names)
    pattern, rests = zip(*(_split_part(parts) for parts in zip(*split, strict=True)), strict=True)
    stars = [rest for rest in rests if rest]
    short = [", ".join(rest) for rest in zip(*stars, strict=True)]
    saved = min(len(name) - len(rest) for name, rest in zip(names, short, strict=True))
    if saved < WORTH_SAYING or len(set(short)) < len(set(names)):
        return "", list(names)
    return "+".join(pattern), short


def _split_part(parts: Sequence[str]) -> tuple[str, list[str]]:
    """One part of all names as a pattern, and each one's own for the star; none where all are the same."""
    if len(set(parts)) == 1:
        return parts[0], []
    beginning = re.sub(r"[^-=_/.]*$", "", _common_prefix(parts))
    beginning = "" if beginning in parts else beginning
    return f"{beginning}*", [part.removeprefix(beginning) for part in parts]


def elided(names: Sequence[str], most: int) -> list[str]:
    """Each name in at most `most` (at least 12) letters, an ellipsis for what is left out; unequal names stay unequal."""
    half = (most - 1) // 2
    short = [name if len(name) <= most else name[: most - 1 - half] + ELLIPSIS + name[-half:] for name in names]
    for label, group in _alike(names, short).items():
        short = [_window(group, name, most) if other == label else other for name, other in zip(names, short, strict=True)]
    for label, group in _alike(names, short).items():
        places = {name: f"{ELLIPSIS}({place})" for place, name in enumerate(dict.fromkeys(names), 1) if name in group}
        short = [
            name[: most - len(places[name])] + places[name] if other == label else other
            for name, other in zip(names, short, strict=True)
        ]
    return short


def _alike(names: Sequence[str], short: Sequence[str]) -> dict[str, set[str]]:
    """The labels that unequal names have in common, with these names."""
    groups: dict[str, set[str]] = {}
    for name, label in zip(names, short, strict=True):
        groups.setdefault(label, set()).add(name)
    return {label: group for label, group in groups.items() if len(group) > 1}


def _common_prefix(names: Iterable[str]) -> str:
    columns = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in columns)


def _window(group: set[str], name: str, most: int) -> str:
    """The name's beginning, and what fits about the place where it begins to differ from the others of its group."""
    if len(name) <= most:
        return name
    differs, head = len(_common_prefix(group)), most // 3
    if differs < most - 4:
        return name[: most - 1] + ELLIPSIS
    end = min(len(name), differs + most // 3)
    cut = ELLIPSIS if end < len(name) else ""
    return name[:head] + ELLIPSIS + name[end - (most - head - 1 - len(cut)) : end] + cut


def wrapped(text: str, most: int) -> list[str]:
    """The text in lines of at most `most` letters, broken after `+`, `,` and spaces, elsewhere only where there is none.

    There it is broken after a sign between words, if one stands in the line's second half.
    """
    lines = [""]
    for piece in re.findall(r"[^+,\s]*(?:[+,]+\s*|\s+|$)", text):
        if lines[-1] and len(lines[-1] + piece.rstrip()) > most:
            lines.append("")
        lines[-1] += piece
    whole = [line.strip() for line in lines if line.strip()]
    return [part for line in whole for part in _cut(line, most)] or [""]


def _cut(line: str, most: int) -> list[str]:
    """A line in parts of at most `most` letters."""
    parts = []
    while len(line) > most:
        after = max(line.rfind(sign, 0, most) for sign in "-_=/") + 1
        end = after if after > most // 2 else most
        parts.append(line[:end])
        line = line[end:]
    return [*parts, line]
