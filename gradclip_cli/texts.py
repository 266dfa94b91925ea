"""Texts: numbers and things as they stand in a sentence, and texts of unknown origin made safe for each medium. Nothing heavy."""

from __future__ import annotations

import math
import re

MINUS = "\N{MINUS SIGN}"
MOST_PLACES = 8
"""Decimals of a small value, beyond which it is told with an exponent."""


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as 1 seed, 2 seeds or 5,000 steps."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def with_article(noun: str) -> str:
    """A noun with its article as it is spoken, such as a str, an int or an ndarray."""
    return f"{'an' if noun[:1].lower() in tuple('aeiou') or noun.startswith('nd') else 'a'} {noun}"


ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
ENDINGS = {1: "st", 2: "nd", 3: "rd"}


def ordinal(place: int) -> str:
    """A place in a row, such as third or, beyond the tenth, 23rd."""
    if place <= len(ORDINALS):
        return ORDINALS[place - 1]
    teens = 10 < place % 100 < 20
    return f"{place}{'th' if teens else ENDINGS.get(place % 10, 'th')}"


def decimals(value: float, digits: int, *, sign: bool = False) -> str:
    """A finite value with so many decimals and a real minus; two significant digits where it would read as zero otherwise."""
    rounded = round(value, digits) + 0.0  # never minus zero
    if value and not rounded:
        places = 1 - math.floor(math.log10(abs(value)))
        shown = f"{value:.{places}f}".rstrip("0") if places <= MOST_PLACES else f"{value:.1e}"
    else:
        shown = f"{rounded:.{digits}f}"
    return f"{'+' if sign and value > 0 else ''}{shown}".replace("-", MINUS)


def percent(share: float, digits: int = 1) -> str:
    """A share such as 38.3%; none and all only where they are meant; a dash where it is not known."""
    if math.isnan(share):
        return "-"
    if share < 1 <= round(share, digits + 2):
        return f">{100 - 10**-digits:.{digits}f}%"
    return f"{decimals(100 * share, digits)}%"


def shown_p(p: float) -> str:
    """A p-value for a table's cell: two significant digits, not below a thousandth."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def p_relation(p: float) -> str:
    """A p-value for a sentence, such as p = 0.016 or p < 0.001."""
    return f"p {shown_p(p)}" if p < 0.001 else f"p = {shown_p(p)}"


def for_terminal(text: str) -> str:
    """The text on one line; what can't be seen is written out as in Python: the escape character becomes `\\x1b`."""
    return text if text.isprintable() else "".join(each if each.isprintable() else _written_out(each) for each in text)


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
    import html

    return html.escape(found[0]) if found["entity"] else f"\\{found[0]}"


def for_picture(text: str) -> str:
    """The text as matplotlib draws it literally, and not as a formula."""
    return for_terminal(text).replace("$", r"\$")


LOWER_IS_BETTER = re.compile(r"loss|error|mse|mae|mape|entropy|divergence|perplexity|poisson|hinge|false|distance")
"""What a metric is called of which less is better, as far as a name tells."""


def snake_case(name: str) -> str:
    """A name of Keras's as its functions are called: `MeanSquaredError` is `mean_squared_error`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
