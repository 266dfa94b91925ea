"""A map: a table whose cells are coloured, say what their colours do, and lead to the parts of the page that they rest on.

It is a plain table with plain links: a browser opens the closed part that a link leads into, with scripts or without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from gradclip_cli.pages.elements import Child, details, element
from gradclip_cli.plots import ink_on


@dataclass(frozen=True)
class Cell:
    """What stands in a cell, the value first; its colour as `#rrggbb`, None for none; and the id of what it leads to."""

    lines: Sequence[str]
    shade: str | None
    leads_to: str
    mark: str = ""
    """Words that set it apart, such as `best`: it is framed."""


def grid(caption: str, corner: str, columns: Sequence[str], rows: Sequence[tuple[Child, Sequence[Cell | None]]]) -> Element:
    """The table: its rows' labels at the left; a cell is None where there is nothing."""
    head = element(
        "tr", element("th", corner, scope="col", class_="text"), *(element("th", each, scope="col") for each in columns)
    )
    body = [element("tr", element("th", label, scope="row", class_="text"), *map(_cell, cells)) for label, cells in rows]
    whole = element("table", element("caption", caption), element("thead", head), element("tbody", *body), class_="map")
    return element("div", whole, class_="scrolls", tabindex="0", role="region", aria_label=caption)


def _cell(cell: Cell | None) -> Element:
    if cell is None:
        return element("td", element("span", "not trained", class_="unseen"))
    first, *others = cell.lines
    beneath = [element("span", line) for line in [*others, *([cell.mark] if cell.mark else [])]]
    link = element("a", element("strong", first), *beneath, href=f"#{cell.leads_to}")
    shade = {"style": f"background:{cell.shade};color:{ink_on(cell.shade)}"} if cell.shade else {}
    return element("td", link, **shade, **({"class_": "framed"} if cell.mark else {}))


def opens(name: str, summary: str, *children: Child) -> Element:
    """A closed part of the page that a cell leads to, by its id."""
    return details(summary, element("div", *children, id=name), class_="cell")
