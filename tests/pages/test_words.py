"""Words that not everybody knows say what they mean where they stand."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from gradclip_cli.pages.words import WORDS, column, explained, glossary, meaning


def marked(part: Element) -> dict[str, str]:
    return {each.text or "": each.attrib["title"] for each in part.iter("abbr")}


def test_a_words_first_mention_says_what_it_means_and_the_text_is_kept() -> None:
    told = "Holm-adjusted over 2 arms, each arm by 0.1 nats (p = 0.5), p again"
    part = explained(told)
    assert "".join(part.itertext()) == told
    assert marked(part) == {"arms": WORDS["arm"], "nats": WORDS["nats"], "p": WORDS["p"]}


def test_a_part_of_a_name_is_no_word() -> None:
    assert not marked(explained("clipping.threshold none/seed-3 warm_p clipnorm+p=1 farm"))


@pytest.mark.parametrize("heading", ["arm", "seeds", "p", "won", "diverged", "collapsed", "clipped"])
def test_headings_of_the_tables_are_explained(heading: str) -> None:
    cell = column(heading)
    assert isinstance(cell, Element)
    assert (cell.text, cell.attrib["title"]) == (heading, meaning(heading))


def test_other_headings_stay_texts() -> None:
    assert column("test accuracy (%)") == "test accuracy (%)"


def test_the_glossary_has_every_word() -> None:
    part = glossary()
    assert [each.text for each in part.iter("dt")] == list(WORDS)
    assert [each.text for each in part.iter("dd")] == list(WORDS.values())
