"""A report's blocks as sections of a page: the same texts and pictures that its Markdown has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from xml.etree.ElementTree import Element

from gradclip_cli.evidence.blocks import Block, Heading, Paragraph, Picture, Points, Table
from gradclip_cli.pages.elements import Child, element, section, table
from gradclip_cli.pages.pictures import inlined
from gradclip_cli.pages.sections import image
from gradclip_cli.pages.words import column, explained


def parts(blocks: Iterable[Block], prefix: str) -> list[Element]:
    """A section for each heading, with what stands beneath it; ids begin with a prefix, so that no other section has them."""
    return [
        section(f"{prefix}-{number}-{_id(heading.text)}", heading.text, *shown(beneath, heading.text))
        for number, (heading, beneath) in enumerate(_by_heading(blocks), 1)
    ]


def _by_heading(blocks: Iterable[Block]) -> list[tuple[Heading, list[Block]]]:
    found: list[tuple[Heading, list[Block]]] = []
    for block in blocks:
        if isinstance(block, Heading):
            found.append((block, []))
        else:
            found[-1][1].append(block)
    return found


def _id(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40]


def shown(blocks: Sequence[Block], caption: str) -> Iterator[Element]:
    """Each block as an element; tables are called as the paragraph says that introduces them, else by the caption."""
    named = caption
    for block in blocks:
        match block:
            case Paragraph(text, lead):
                named = text.partition(":")[0] if len(text.partition(":")[0]) < LONGEST_CAPTION and not lead else caption
                before: list[Child] = [element("em", lead), " "] if lead else []
                yield element("p", *before, explained(text))
            case Points(sentences):
                yield element("ul", *(element("li", explained(sentence)) for sentence in sentences))
            case Table(columns, rows, left):
                yield table(named, [column(heading) for heading in columns], rows, texts=_texts(columns, left))
            case Picture(_, alt, draw):
                yield element("figure", image(inlined(draw()), f"{alt}."))


def _texts(columns: Sequence[str], left: int) -> list[int]:
    """Which columns stand to the left: the first ones, and that of the verdicts."""
    return [place for place, heading in enumerate(columns) if place < left or heading == "verdict"]


LONGEST_CAPTION = 40
"""Letters of a paragraph's beginning that can name the table beneath it, such as an arm's name."""
