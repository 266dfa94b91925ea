"""The parts of an HTML page as a tree: what stands in it is text by construction, whatever it holds, and never markup.

The standard library's ElementTree escapes it, so that no template is needed, nor anything installed for one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from gradclip_cli.texts import for_terminal

Child = Element | str


def element(tag: str, *children: Child, **attributes: str) -> Element:
    """An element with texts and elements in it; `class_` stands for `class`, and `_` within a name for `-`.

    What can't be seen in a text is written out as in Python, but for the ends of lines.
    """
    made = Element(tag, {name.rstrip("_").replace("_", "-"): _safe(value) for name, value in attributes.items()})
    for child in children:
        append(made, child)
    return made


def append(parent: Element, child: Child) -> None:
    """Put a text or an element at the end of what an element holds."""
    if isinstance(child, Element):
        parent.append(child)
    elif len(parent):
        parent[-1].tail = (parent[-1].tail or "") + _safe(child)
    else:
        parent.text = (parent.text or "") + _safe(child)


def _safe(text: str) -> str:
    return "\n".join(map(for_terminal, text.split("\n")))


def safe(content: Any) -> Any:
    """What is to be shown by a script, with all its texts as `element` would have them."""
    if isinstance(content, dict):
        return {key: safe(child) for key, child in content.items()}
    if isinstance(content, list | tuple):
        return [safe(child) for child in content]
    return _safe(content) if isinstance(content, str) else content


def code(tag: str, source: str, **attributes: str) -> Element:
    """A script or style of our own, which HTML holds as it is: nothing in it may end it. Raises ValueError."""
    if re.search(rf"</{tag}|<!--", source, flags=re.IGNORECASE):
        raise ValueError(f"a {tag} that would end early")
    made = element(tag, **attributes)
    made.text = source
    return made


def as_json(content: Any) -> str:
    """What a script reads, in JSON that can't end the element that it stands in. Raises ValueError for NaN and infinity."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def table(caption: str, columns: Sequence[Child], rows: Iterable[Sequence[Child]], *, texts: Sequence[int] = (0,)) -> Element:
    """A table with its caption, in a box that scrolls where there is no room; columns at `texts` are to the left.

    The first column's cells head their rows.
    """
    head = element("tr", *(element("th", cell, scope="col", **_side(place, texts)) for place, cell in enumerate(columns)))
    body = [element("tr", *(_cell(place, cell, texts) for place, cell in enumerate(row))) for row in rows]
    whole = element("table", element("caption", caption), element("thead", head), element("tbody", *body))
    return element("div", whole, class_="scrolls", tabindex="0", role="region", aria_label=caption)


def _cell(place: int, cell: Child, texts: Sequence[int]) -> Element:
    side = _side(place, texts)
    return element("td", cell, **side) if place else element("th", cell, scope="row", **side)


def _side(place: int, texts: Sequence[int]) -> dict[str, str]:
    return {"class_": "text"} if place in texts else {}


def definitions(pairs: Iterable[tuple[Child, Child]], **attributes: str) -> Element:
    """A list of terms, each with what is said of it."""
    return element("dl", *(part for term, said in pairs for part in (element("dt", term), element("dd", said))), **attributes)


def details(summary: str, *children: Child, **attributes: str) -> Element:
    """What is shown once its summary is opened."""
    return element("details", element("summary", summary), *children, **attributes)


def section(name: str, heading: str, *children: Child) -> Element:
    """A part of the page under a heading, with a fixed id to link to."""
    return element("section", element("h2", heading, id=f"{name}-heading"), *children, id=name, aria_labelledby=f"{name}-heading")


def document(head: Iterable[Element], body: Iterable[Element], **attributes: str) -> str:
    """The whole page."""
    root = element("html", element("head", *head), element("body", *body), lang="en", **attributes)
    return f"<!DOCTYPE html>\n{ElementTree.tostring(root, encoding='unicode', method='html')}\n"
