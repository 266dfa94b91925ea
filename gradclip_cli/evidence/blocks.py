"""What a report is made of, whatever it is written as: headings, paragraphs, points, tables and pictures, all of them texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclip_cli.evidence.report import markdown_table
from gradclip_cli.texts import for_markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Heading:
    """Begins a part, up to the next one."""

    text: str

    def markdown(self) -> str:
        return f"## {for_markdown(self.text)}"


@dataclass(frozen=True)
class Paragraph:
    """A text, with words before it that say what it is, such as `The rule.`."""

    text: str
    lead: str = ""

    def markdown(self) -> str:
        return f"*{for_markdown(self.lead)}* {for_markdown(self.text)}" if self.lead else for_markdown(self.text)


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    sentences: Sequence[str]

    def markdown(self) -> str:
        return "\n".join(f"- {for_markdown(sentence)}" for sentence in self.sentences)


@dataclass(frozen=True)
class Table:
    """Rows of texts beneath their headings; the first `left` columns stand to the left."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1

    def markdown(self) -> str:
        return markdown_table(self.columns, self.rows, left=self.left)


@dataclass(frozen=True)
class Picture:
    """A picture with the name of its file, what it shows in words, and what draws it."""

    file: str
    alt: str
    draw: Callable[[], Figure]

    def markdown(self) -> str:
        return f"![{for_markdown(self.alt)}]({self.file})"


Block = Heading | Paragraph | Points | Table | Picture


def markdown(blocks: Iterable[Block]) -> list[str]:
    """Each block in Markdown."""
    return [block.markdown() for block in blocks]
