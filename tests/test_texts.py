"""Texts: a number reads as what it is; what is of unknown origin is safe in each medium."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gradclip_cli.texts import (
    MINUS,
    counted,
    decimals,
    for_markdown,
    for_picture,
    for_terminal,
    ordinal,
    p_relation,
    percent,
    shown_p,
    with_article,
)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 3))
def test_only_zero_reads_as_zero(value: float, digits: int) -> None:
    told = decimals(value, digits, sign=True)
    assert (float(told.replace(MINUS, "-")) == 0) == (value == 0)
    assert told.startswith(MINUS if value < 0 else "+" if value > 0 else "0")


@pytest.mark.parametrize(
    ("value", "digits", "told"),
    [
        (-0.012, 1, f"{MINUS}0.012"),
        (-0.0, 1, "0.0"),
        (0.04, 1, "0.04"),
        (0.06, 1, "0.1"),
        (0.4, 0, "0.4"),
        (0.0000098, 3, "0.0000098"),
        (2e-12, 3, f"2.0e{MINUS}12"),
        (12, 0, "12"),
    ],
)
def test_decimals(value: float, digits: int, told: str) -> None:
    assert decimals(value, digits) == told


def test_shares_are_none_and_all_only_where_meant() -> None:
    shares = [0, 1e-6, 0.383, 0.99999, 1, math.nan]
    assert [percent(share) for share in shares] == ["0.0%", "0.0001%", "38.3%", ">99.9%", "100.0%", "-"]
    assert [percent(share, 0) for share in (0, 0.0033, 0.97, 0.998, 1)] == ["0%", "0.33%", "97%", ">99%", "100%"]


def test_ordinals() -> None:
    assert [ordinal(place) for place in (1, 3, 10)] == ["first", "third", "tenth"]
    assert [ordinal(place) for place in (11, 12, 21, 22, 103, 111)] == ["11th", "12th", "21st", "22nd", "103rd", "111th"]


def test_plurals() -> None:
    assert [counted(number, "seed") for number in (0, 1, 2, 5000)] == ["0 seeds", "1 seed", "2 seeds", "5,000 seeds"]


def test_articles_are_those_that_are_spoken() -> None:
    nouns = ("int", "str", "ndarray", "OrderedDict", "NoneType", "IterableDataset", "float")
    said = ["an int", "a str", "an ndarray", "an OrderedDict", "a NoneType", "an IterableDataset", "a float"]
    assert [with_article(noun) for noun in nouns] == said


@pytest.mark.parametrize("name", ["none", "clipnorm-1+optimizer.learning_rate=0.3", "adam/none", "a+model.units=32,16"])
def test_names_that_are_allowed_stay_as_they_are(name: str) -> None:
    assert for_terminal(name) == for_markdown(name) == for_picture(name) == name


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\rb", "a\nb", "\x9b31m", "\u202eevil", "\u2028", "\ud800", "\x00", "\x7f"])
def test_nothing_invisible_reaches_a_terminal(text: str) -> None:
    assert for_terminal(text).isprintable()
    assert "\\" in for_terminal(text)


@given(st.text())
def test_a_terminal_gets_printable_letters_only(text: str) -> None:
    assert all(letter.isprintable() for letter in for_terminal(text))


def test_markdown_shows_markup_literally() -> None:
    assert for_markdown("<script>|[a](b) & *c* `d`") == r"&lt;script&gt;\|\[a\](b) &amp; \*c\* \`d\`"
    assert for_markdown("_a_b_") == r"\_a_b\_"


def test_a_picture_takes_no_formula() -> None:
    assert for_picture(r"$\frac{$") == r"\$\frac{\$"


def as_rendered(markdown: str) -> tuple[set[str], str]:
    """The kinds of a page's elements, and its text, without spaces at the edges."""
    found: set[str] = set()
    told = ""
    for block in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown):
        found.add(block.type.removesuffix("_open").removesuffix("_close"))
        for part in block.children or []:
            found.add(part.type)
            told += part.content
    return found, told


PLAIN = {"paragraph", "inline", "text", "text_special"}
MARKUP = st.text(r"#-+*_`~[]()!<>&|$\\=.: 1ab/")


@given(MARKUP | st.text())
@example("[x](http://a) ![y](z) [z]")
@example("[z]: http://a")
@example("# a")
@example("- a")
@example("1. a")
@example("1) a")
@example("> a")
@example("a&lt;&#60;")
@example("<!-- a --><script>alert(1)</script>")
@example("===")
@example("---")
@example("***")
@example("__a__ ~~b~~ `c` $d$ **e**")
@example("http://a_b_")
def test_markdown_renders_any_text_as_it_is(text: str) -> None:
    elements, told = as_rendered(for_markdown(text.strip()))
    assert told == for_terminal(text.strip())
    assert elements <= PLAIN


@given(MARKUP)
def test_any_text_stays_in_its_cell_and_its_sentence(text: str) -> None:
    cell = for_markdown(text, cell=True)
    elements, _ = as_rendered(f"| a | b |\n| --- | --- |\n| {cell} | c |")
    assert elements <= {"table", "thead", "tbody", "tr", "th", "td", "inline", "text", "text_special"}
    row = MarkdownIt("commonmark").enable("table").render(f"| a | b |\n| --- | --- |\n| {cell} | c |").split("<tbody>")[1]
    assert row.count("<td>") == 2
    elements, _ = as_rendered(f"- {for_markdown(text)} helps.\n- b")
    assert elements <= PLAIN | {"bullet_list", "list_item"}


@pytest.mark.parametrize(
    "text",
    ["66.8 [65.0, 68.7]", "+1.4 [\u22120.1, 3.0]", "< 0.001", "p < 0.001", "0.944 ±0.111", "val_loss", "100%", "-3", "+1.4"],
)
def test_our_own_figures_need_no_escape(text: str) -> None:
    assert for_markdown(text) == text


@pytest.mark.parametrize(
    ("p", "in_a_cell", "in_a_sentence"),
    [(0.0156, "0.016", "p = 0.016"), (1.0, "1", "p = 1"), (0.001, "0.001", "p = 0.001"), (0.0009, "< 0.001", "p < 0.001")],
)
def test_a_p_value_is_told(p: float, in_a_cell: str, in_a_sentence: str) -> None:
    assert (shown_p(p), p_relation(p)) == (in_a_cell, in_a_sentence)
