"""The one place that makes a text of unknown origin (a folder's name, a stored file's content) safe for a medium."""

from __future__ import annotations

import re


def for_terminal(text: str) -> str:
    """The text on one line; what can't be seen is written out as in Python: the escape character becomes `\\x1b`."""
    return "".join(letter if letter.isprintable() else _written_out(letter) for letter in text)


def _written_out(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def for_markdown(text: str) -> str:
    """The text as Markdown (and the HTML within it) shows it literally, in a paragraph or a table's cell."""
    escaped = re.sub(r"([\\`*\[\]|$~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", for_terminal(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def for_picture(text: str) -> str:
    """The text as matplotlib draws it literally, and not as a formula."""
    return for_terminal(text).replace("$", r"\$")
