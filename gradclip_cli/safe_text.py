"""The one place that makes a text of unknown origin (a folder's name, a stored file's content) safe for a medium."""

from __future__ import annotations

import html
import re


def for_terminal(text: str) -> str:
    """The text on one line; what can't be seen is written out as in Python: the escape character becomes `\\x1b`."""
    return "".join(letter if letter.isprintable() else _written_out(letter) for letter in text)


def _written_out(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


# An interval such as [0.1, 3.0] is no markup, and neither is a "less than"; both stay as they are.
_MARKUP = re.compile(
    r"(?P<kept>\[[\s.,+\u2212-]*\d[\d\s.,+\u2212-]*\](?![(\[:]))"
    r"|[\\`*\[\]|$~]|(?<![^\W_])_|_(?![^\W_])"
    r"|(?P<entity>[&>]|<(?=[A-Za-z/!?]))"
)
# A heading, an item of a list, or a rule: only at the beginning, and before a space or the end.
_BEGINNING = re.compile(r"^(\d{0,9})([-+#.)])(?=[-#]*(?:\s|$))")


def for_markdown(text: str, *, cell: bool = False) -> str:
    """The text as Markdown (and the HTML within it) shows it literally, in a paragraph or a list; or in a table's cell."""
    escaped = _MARKUP.sub(_escaped, for_terminal(text))
    if cell:  # where no block begins
        return escaped
    escaped = _BEGINNING.sub(r"\1\\\2", escaped)
    return f"&#32;{escaped[1:]}" if escaped.startswith(" ") else escaped  # or it might be indented code


def _escaped(found: re.Match[str]) -> str:
    if found["kept"]:
        return found[0]
    return html.escape(found[0]) if found["entity"] else f"\\{found[0]}"


def for_picture(text: str) -> str:
    """The text as matplotlib draws it literally, and not as a formula."""
    return for_terminal(text).replace("$", r"\$")
