"""Tables of texts that fit: whole where there is room; else shorter cells, then fewer columns, and what is missing is said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len

from gradclip_cli.labels import split_pattern

GAP = 2
LEAST_TEXT = 8
"""Columns that a wrapped text is given at least."""


@dataclass(frozen=True)
class Layout:
    """A table as lines of the same structure: a note that comes first, headings, rows, and what was left out."""

    headings: list[str]
    rows: list[str]
    pattern: str = ""
    """What the names are, where only what differs between them is shown: `explode-*`."""
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Column:
    """A column in one of its forms."""

    heading: str
    cells: Sequence[str]
    text: bool
    width: int


def without_spread(cell: str) -> str:
    """A cell without its interval or deviation: 68.2 of `68.2 [67.1, 69.3]`, 0.944 of `0.944 ±0.111`."""
    return re.sub(r"(?<=\S)\s+(?:±|\+-|\[).*", "", cell)


def laid_out(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int | None, *, primary: Sequence[str] = (),
    whole: Sequence[str] = (), texts: Sequence[str] = (), names: str = "",
) -> Layout:  # fmt: skip
    """Lay out a table in `width` columns; None: as wide as its content, whole.

    `primary` headings are never left out; of the others the last goes first. Before that, cells lose their spread, those in
    `whole` as late as possible. The first column and `texts` stand to the left and may be wrapped; of the column `names` a part
    that all its cells share is said only once. No cell is ever cut short: what is not shown is named in the layout's `left_out`,
    and where nothing helps, lines are longer than `width`.
    """
    cells = {heading: [row[index] for row in rows] for index, heading in enumerate(headings)}
    left = {*headings[:1], *texts}
    full = [_column(heading, cells[heading], heading in left) for heading in headings]
    if width is None or _total(full) <= width:
        return _drawn(full)
    pattern = ""
    if names in cells:
        pattern, cells[names] = split_pattern(cells[names])
    forms = {heading: _forms(heading, cells[heading], heading in left, width) for heading in headings}
    with_spread = {heading: [form for form in forms[heading] if list(form.cells) == cells[heading]] for heading in headings}
    if _total([of_one[-1] for of_one in with_spread.values()]) <= width:  # headings on several lines are enough
        chosen = {heading: of_one[-1] for heading, of_one in with_spread.items()}
        _widen(chosen, with_spread, width)
        return _drawn(list(chosen.values()), pattern)
    shown = [*(heading for heading in primary if heading in forms), *(heading for heading in headings if heading not in primary)]
    needed = max(1, sum(heading in forms for heading in primary))
    least = {heading: forms[heading][1 if heading in whole else -1] for heading in shown}
    while len(shown) > needed and _total([least[heading] for heading in shown]) > width:
        shown.pop()
    chosen = {heading: least[heading] for heading in shown}
    if _total(list(chosen.values())) > width:
        chosen = {heading: forms[heading][-1] for heading in shown}
    _widen(chosen, forms, width)
    if spreads := [heading for heading in headings if heading in chosen and list(chosen[heading].cells) != cells[heading]]:
        # Some with their spread and some without would puzzle more than tell.
        chosen |= {heading: forms[heading][-1] for heading in shown if heading not in whole}
        _widen(
            chosen,
            {heading: [form for form in forms[heading] if form.cells == chosen[heading].cells] for heading in shown},
            width,
        )
        spreads = [heading for heading in headings if heading in chosen and list(chosen[heading].cells) != cells[heading]]
    left_out = [heading for heading in headings if heading not in shown]
    left_out += [f"the {_spread_told(cells, spreads)} of {', '.join(spreads)}"] if spreads else []
    return _drawn(_narrowed([chosen[heading] for heading in headings if heading in chosen], width), pattern, left_out)


def _widen(chosen: dict[str, _Column], forms: Mapping[str, Sequence[_Column]], width: int) -> None:
    """Give each column the widest form that there is room for, the most wanted column first."""
    for heading in chosen:
        others = [column for key, column in chosen.items() if key != heading]
        fitting = (form for form in forms[heading] if _total([*others, form]) <= width)
        chosen[heading] = next(fitting, chosen[heading])


def _spread_told(cells: Mapping[str, Sequence[str]], headings: Sequence[str]) -> str:
    return "intervals" if any("[" in cell for heading in headings for cell in cells[heading]) else "deviations (±)"


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` columns: broken at spaces or before a plus, where need be within a word or name."""
    lines = [""]
    for word in re.findall(r"\s*(?:\+?[^\s+]+|\+)", text):
        pieces = [word] if cell_len(word.strip()) <= width else re.findall(r"\s*[^\s=_,/-]*[=_,/-]*", word)
        for piece in pieces:
            if lines[-1] and cell_len(lines[-1] + piece) > width:
                lines.append("")
            rest = piece if lines[-1] else piece.lstrip()
            while cell_len(rest) > width:
                whole = next(size for size in range(width, 0, -1) if size == 1 or cell_len(rest[:size]) <= width)
                lines[-1] += rest[:whole]
                lines.append("")
                rest = rest[whole:]
            lines[-1] += rest
    return lines


def _column(heading: str, cells: Sequence[str], text: bool) -> _Column:
    return _Column(heading, cells, text, _longest([heading, *cells]))


def _forms(heading: str, cells: Sequence[str], text: bool, width: int) -> list[_Column]:
    """A column from its whole form to the narrowest in which its cells stay on one line; texts get a third of the room."""
    at_least = _longest([word for word in re.split(r"\s+|(?<=_)", heading) if word])
    if text:
        room = max(LEAST_TEXT, at_least, min(_longest(cells), width // 3))
        return [_column(heading, cells, text), _Column(heading, cells, text, room)]
    short = [without_spread(cell) for cell in cells]
    forms = [_column(heading, cells, text), _Column(heading, cells, text, max(at_least, _longest(cells)))]
    if short != list(cells):
        forms += [_column(heading, short, text), _Column(heading, short, text, max(at_least, _longest(short)))]
    return forms


def _total(columns: Sequence[_Column]) -> int:
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def _narrowed(columns: list[_Column], width: int) -> list[_Column]:
    """The columns with the widest text narrowed, one column of the screen at a time, until all fit or no text can give more."""
    columns = list(columns)
    while _total(columns) > width:
        texts = [index for index, column in enumerate(columns) if column.text and column.width > LEAST_TEXT]
        if not texts:
            break
        widest = max(texts, key=lambda index: columns[index].width)
        column = columns[widest]
        columns[widest] = _Column(column.heading, column.cells, column.text, column.width - 1)
    return columns


def _drawn(columns: Sequence[_Column], pattern: str = "", left_out: Sequence[str] = ()) -> Layout:
    heading = _lines([(wrapped(column.heading, column.width), column) for column in columns])
    numbers = range(max((len(column.cells) for column in columns), default=0))
    rows = [_lines([(wrapped(column.cells[number], column.width), column) for column in columns]) for number in numbers]
    return Layout(heading, [line for row in rows for line in row], pattern, list(left_out))


def _lines(cells: Sequence[tuple[list[str], _Column]]) -> list[str]:
    lines = []
    for number in range(max((len(lines) for lines, _ in cells), default=0)):
        parts = []
        for texts, column in cells:
            text = texts[number] if number < len(texts) else ""
            padding = " " * (column.width - cell_len(text))
            parts.append(text + padding if column.text else padding + text)
        lines.append((" " * GAP).join(parts).rstrip())
    return lines


def _longest(texts: Iterable[str]) -> int:
    return max(map(cell_len, texts), default=0)
