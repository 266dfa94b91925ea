"""Texts of unknown origin, made safe for each medium."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradclip_cli.safe_text import for_markdown, for_picture, for_terminal


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
