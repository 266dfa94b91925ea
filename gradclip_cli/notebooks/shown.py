"""How tables and comparisons show themselves: as text for a terminal, a comparison as HTML for a notebook too."""

from __future__ import annotations

import shutil
from xml.etree import ElementTree

import pandas as pd

from gradclip_cli.evidence import remarks, report
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.pages.answer import answer
from gradclip_cli.pages.elements import code, details, element, table
from gradclip_cli.texts import for_terminal

BESIDE = "In sentences, and what to keep in mind"
STYLE = """
.gradclip .answer { font-size: 1.15em; font-weight: 600; margin: .3em 0; }
.gradclip caption { text-align: left; font-weight: 600; padding: .3em 0; }
.gradclip th, .gradclip td { text-align: right; white-space: nowrap; }
.gradclip th.text, .gradclip td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 9em; }
.gradclip .scrolls { overflow-x: auto; }
.gradclip .note { font-size: .9em; opacity: .75; }
"""


def plain(frame: pd.DataFrame, most_rows: int | None = None) -> str:
    """A table as lines without an index: in a terminal no wider than that, elsewhere whole. What can't be seen is written out."""
    width = shutil.get_terminal_size((0, 0)).columns or None
    lines = frame.to_string(index=False, max_rows=most_rows, line_width=width).splitlines()
    return "\n".join(for_terminal(line.rstrip()) for line in lines)


def text(compared: Comparison) -> str:
    """The answer, and the table of verdicts in plain text."""
    frame = pd.DataFrame(report.verdict_rows(compared), columns=report.verdict_columns(compared))
    return "\n".join([*map(for_terminal, answer(compared)), "", plain(frame)])


def html(compared: Comparison) -> str:
    """The same as a piece of a page, with all else that is said folded up; names are text in it, whatever they hold."""
    columns, said = report.verdict_columns(compared), remarks.all_sentences(compared)
    shown = element(
        "div",
        code("style", STYLE),
        *(element("p", sentence, class_="answer") for sentence in answer(compared)),
        table("What these runs can show of each arm", columns, report.verdict_rows(compared), texts=(0, len(columns) - 1)),
        element("p", report.verdict_caption(compared), class_="note"),
        *([details(BESIDE, element("ul", *(element("li", each) for each in said)))] if said else []),
        class_="gradclip",
    )
    return ElementTree.tostring(shown, encoding="unicode", method="html")
