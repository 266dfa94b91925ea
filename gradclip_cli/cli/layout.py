"""Tables of texts that fit: whole where there is room; else shorter cells, then fewer columns, and what is missing is said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.text import Span

from gradclip_cli.labels import split_pattern

GAP = 2
LEAST_TEXT = 8
"""Columns that a wrapped text is given at least."""


@dataclass(frozen=True)
class Table:
    """A table of texts, and what matters in it where there is little room."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    primary: Sequence[str] = ()
    """Headings that are never left out; of the others the last goes first."""
    whole: Sequence[str] = ()
    """Headings whose cells lose their spread as late as possible, the others' before any column is left out."""
    texts: Sequence[str] = ()
    """Headings that stand to the left and may be wrapped, as the first one does."""
    names: str = ""
    """The heading of names: a part that all of them share is said only once."""
    styles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By heading: the words that its cells begin with, each with the style that it has in a terminal."""

    def cells(self) -> dict[str, list[str]]:
        """The cells beneath each heading."""
        return {heading: [row[index] for row in self.rows] for index, heading in enumerate(self.headings)}

    def is_text(self, heading: str) -> bool:
        return heading in (*self.headings[:1], *self.texts)


@dataclass(frozen=True)
class Layout:
    """A table as lines of the same structure: a note that comes first, headings, rows, and what was left out."""

    headings: list[str]
    rows: list[str]
    pattern: str = ""
    """What the names are, where only what differs between them is shown: `explode-*`."""
    left_out: list[str] = field(default_factory=list)
    spans: list[list[Span]] = field(default_factory=list)
    """Of each of the rows' lines, what is styled in it."""


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


def laid_out(table: Table, width: int | None) -> Layout:
    """Lay out a table in `width` columns; None: as wide as its content, whole.

    No cell is ever cut short: what is not shown is named in the layout's `left_out`, and where nothing helps, lines are longer
    than `width`.
    """
    cells = table.cells()
    full = [_column(heading, cells[heading], table.is_text(heading)) for heading in table.headings]
    if width is None or _total(full) <= width:
        return _drawn(full, table.styles)
    pattern = ""
    if table.names in cells:
        pattern, cells[table.names] = split_pattern(cells[table.names])
    fitting = _Fitting(table, cells, width)
    chosen = fitting.whole() or fitting.shortened()
    columns = [chosen[heading] for heading in table.headings if heading in chosen]
    return _drawn(_filled(_narrowed(columns, width), width), table.styles, pattern, fitting.left_out(chosen))


class _Fitting:
    """Chooses columns for a table that is too wide, and for each the widest of its forms that there is room for."""

    def __init__(self, table: Table, cells: Mapping[str, Sequence[str]], width: int) -> None:
        self._table, self._cells, self._width = table, cells, width
        self._forms = {heading: _forms(heading, of_one, table.is_text(heading), width) for heading, of_one in cells.items()}

    def whole(self) -> dict[str, _Column]:
        """All columns with all that their cells say, headings on several lines; none where that is still too wide."""
        forms = {heading: self._forms_with(heading, cells) for heading, cells in self._cells.items()}
        least = {heading: of_one[-1] for heading, of_one in forms.items()}
        return self._widened(least, forms) if self._fit(least) else {}

    def shortened(self) -> dict[str, _Column]:
        """The columns that there is room for, without their spread where need be."""
        least = self._wanted()
        chosen = least if self._fit(least) else {heading: self._forms[heading][-1] for heading in least}
        chosen = self._widened(chosen, self._forms)
        if self._without_spread(chosen):
            # Some with their spread and some without would puzzle more than tell.
            chosen |= {heading: self._forms[heading][-1] for heading in chosen if heading not in self._table.whole}
            same = {heading: self._forms_with(heading, column.cells) for heading, column in chosen.items()}
            chosen = self._widened(chosen, same)
        return chosen

    def left_out(self, chosen: Mapping[str, _Column]) -> list[str]:
        """What of the table is not shown: columns, and what cells have lost."""
        columns = [heading for heading in self._table.headings if heading not in chosen]
        shortened = self._without_spread(chosen)
        return [*columns, f"the {self._spread(shortened)} of {', '.join(shortened)}"] if shortened else columns

    def _wanted(self) -> dict[str, _Column]:
        """As many columns as fit in their narrowest wanted form, the most wanted first; at least the primary ones."""
        table = self._table
        primary = [heading for heading in table.primary if heading in self._forms]
        shown = [*primary, *(heading for heading in table.headings if heading not in table.primary)]
        least = {heading: self._forms[heading][1 if heading in table.whole else -1] for heading in shown}
        while len(least) > max(1, len(primary)) and not self._fit(least):
            least.popitem()
        return least

    def _fit(self, columns: Mapping[str, _Column]) -> bool:
        return _total(list(columns.values())) <= self._width

    def _forms_with(self, heading: str, cells: Sequence[str]) -> list[_Column]:
        """The forms of a column that say as much as these cells."""
        return [form for form in self._forms[heading] if list(form.cells) == list(cells)]

    def _widened(self, chosen: Mapping[str, _Column], forms: Mapping[str, Sequence[_Column]]) -> dict[str, _Column]:
        """Each column in the widest form that there is room for, the most wanted column first."""
        wide = dict(chosen)
        for heading in wide:
            fitting = (form for form in forms[heading] if self._fit({**wide, heading: form}))
            wide[heading] = next(fitting, wide[heading])
        return wide

    def _without_spread(self, chosen: Mapping[str, _Column]) -> list[str]:
        return [
            heading
            for heading in self._table.headings
            if heading in chosen and list(chosen[heading].cells) != list(self._cells[heading])
        ]

    def _spread(self, headings: Sequence[str]) -> str:
        """What cells of these columns have lost."""
        return "intervals" if any("[" in cell for heading in headings for cell in self._cells[heading]) else "deviations (±)"


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` columns: broken at spaces or before a plus, where need be within a word or name."""
    if text == text.strip() and cell_len(text) <= width:
        return [text]
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


def _filled(columns: list[_Column], width: int) -> list[_Column]:
    """The columns with the room that is left given to texts that are wrapped, from the first one on."""
    columns = list(columns)
    for index, column in enumerate(columns):
        if column.text and (room := width - _total(columns)) > 0:
            wider = min(column.width + room, _longest([column.heading, *column.cells]))
            columns[index] = _Column(column.heading, column.cells, column.text, max(column.width, wider))
    return columns


def _drawn(
    columns: Sequence[_Column], styles: Mapping[str, Mapping[str, str]], pattern: str = "", left_out: Sequence[str] = ()
) -> Layout:
    headings, _ = _lines([(wrapped(column.heading, column.width), column) for column in columns], {})
    if columns and not styles and all(map(_is_plain, columns)):
        return Layout(headings, _plain_rows(columns), pattern, list(left_out), [[] for _ in columns[0].cells])
    rows: list[str] = []
    spans: list[list[Span]] = []
    for number in range(max((len(column.cells) for column in columns), default=0)):
        lines, styled = _lines([(wrapped(column.cells[number], column.width), column) for column in columns], styles)
        rows += lines
        spans += styled
    return Layout(headings, rows, pattern, list(left_out), spans)


def _is_plain(column: _Column) -> bool:
    """Whether each cell stands on one line of as many columns as it has letters."""
    return all(
        cell.isascii() and cell.isprintable() and len(cell) <= column.width and cell == cell.strip() for cell in column.cells
    )


def _plain_rows(columns: Sequence[_Column]) -> list[str]:
    """What `_lines` makes of plain columns, thousands of rows at once."""
    padded = [
        [cell.ljust(column.width) if column.text else cell.rjust(column.width) for cell in column.cells] for column in columns
    ]
    return [(" " * GAP).join(cells).rstrip() for cells in zip(*padded, strict=True)]


def _lines(
    cells: Sequence[tuple[list[str], _Column]], styles: Mapping[str, Mapping[str, str]]
) -> tuple[list[str], list[list[Span]]]:
    """A row's lines, and of each what is styled in it."""
    found: list[str] = []
    spans: list[list[Span]] = []
    styled = [_styled(texts, styles.get(column.heading, {})) for texts, column in cells]
    for number in range(max((len(lines) for lines, _ in cells), default=0)):
        parts: list[str] = []
        in_line: list[Span] = []
        for (texts, column), (ends, style) in zip(cells, styled, strict=True):
            text = texts[number] if number < len(texts) else ""
            padding = " " * (column.width - cell_len(text))
            start = sum(len(part) + GAP for part in parts) + len(padding) * (not column.text)
            if number < len(ends) and ends[number]:
                in_line.append(Span(start, start + ends[number], style))
            parts.append(text + padding if column.text else padding + text)
        found.append((" " * GAP).join(parts).rstrip())
        spans.append(in_line)
    return found, spans


def _styled(texts: Sequence[str], styles: Mapping[str, str]) -> tuple[list[int], str]:
    """How far the word with a style goes that a cell begins with, in each of the cell's lines, and that style."""
    cell = " ".join(texts)
    word = max((word for word in styles if cell.startswith(word)), key=len, default="")
    left, ends = len(word.replace(" ", "")), []
    for text in texts:
        end = 0
        while left and end < len(text):
            left -= not text[end].isspace()
            end += 1
        ends.append(end)
    return ends, styles.get(word, "")


def _longest(texts: Iterable[str]) -> int:
    return max(map(cell_len, texts), default=0)
