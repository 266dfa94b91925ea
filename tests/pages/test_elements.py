"""The parts of a page: whatever a text holds, it stays text."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradclip_cli.pages.elements import code, details, document, element, section, table
from gradclip_cli.texts import for_terminal


class Read(HTMLParser):
    """What a browser would find: tags with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text())
def test_a_text_is_shown_literally_and_is_never_markup(text: str) -> None:
    read = Read(document([], [element("p", text, title=text)]))
    assert [tag for tag, _ in read.tags] == ["html", "head", "body", "p"]
    shown = "\n".join(map(for_terminal, text.split("\n")))
    assert read.text.strip("\n") == shown.strip("\n")
    assert read.tags[-1][1]["title"] == shown


def test_texts_stand_before_and_after_elements() -> None:
    assert Read(document([], [element("p", "a ", element("b", "b"), " c", " d")])).text.strip() == "a b c d"


@pytest.mark.parametrize("source", ["a</script>b", "a</SCRIPT >", "<!-- a"])
def test_a_script_that_would_end_early_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="end early"):
        code("script", source)


def test_a_script_stays_as_it_is() -> None:
    assert "<script>a < b && c</script>" in document([], [code("script", "a < b && c")])


def test_a_table_has_a_caption_and_heads_of_columns_and_rows() -> None:
    read = Read(document([], [table("Caption", ["arm", "p"], [["none", "0.5"]])]))
    heads = [attributes["scope"] for tag, attributes in read.tags if tag == "th"]
    assert heads == ["col", "col", "row"]
    assert [tag for tag, _ in read.tags].count("caption") == 1
    box = dict(read.tags)["div"]
    assert (box["tabindex"], box["aria-label"]) == ("0", "Caption")  # which scrolls by the keyboard too


def test_sections_and_details_have_their_headings() -> None:
    read = Read(document([], [section("here", "Heading", details("Summary", "inside"))]))
    assert dict(read.tags)["section"] == {"id": "here", "aria-labelledby": "here-heading"}
    assert dict(read.tags)["h2"] == {"id": "here-heading"}
    assert "Heading" in read.text
    assert "Summaryinside" in read.text
