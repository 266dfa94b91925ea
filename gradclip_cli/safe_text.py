"""The one place that makes a text of unknown origin (a folder's name, a stored file's content) safe for a medium."""

from __future__ import annotations

import re
import unicodedata

# Control, formatting (which may turn the direction of writing), surrogates, private use, line and paragraph separators.
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def for_terminal(text: str) -> str:
    """The text on one line; what can't be seen is written out as in Python: the escape character becomes `\\x1b`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_written_out(letter) if unicodedata.category(letter) in _INVISIBLE else letter for letter in text)


def _written_out(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def for_markdown(text: str) -> str:
    """The text as Markdown (and the HTML within it) shows it literally, in a paragraph or a table's cell."""
    escaped = re.sub(r"([\\`*\[\]|$~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", for_terminal(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def for_picture(text: str) -> str:
    """The text as matplotlib draws it literally, and not as a formula."""
    return for_terminal(text).replace("$", r"\$")
