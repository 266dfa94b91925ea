"""`gradclip_cli.report`: the page that the command writes, and a link to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import call, tree
from kept import draw_nothing

import gradclip_cli
from gradclip_cli import plots
from gradclip_cli.errors import ReportError, StoreError
from gradclip_cli.evidence import ledger
from gradclip_cli.notebooks import Page
from gradclip_cli.pages import interactive, page


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactive, "is_installed", lambda: False)
    monkeypatch.setattr(plots, "save_to", draw_nothing)


def test_the_page_is_the_commands(two_arms: Path, tmp_path: Path) -> None:
    assert call("report", "none", "clipvalue", "--results", str(two_arms), "--output", str(tmp_path / "a.html")).exit_code == 0
    compared = gradclip_cli.compare(two_arms, "none", "clipvalue")
    written = gradclip_cli.report(compared)
    assert Path(written) == two_arms / "compare" / "none,clipvalue" / "report.html"
    assert Path(written).read_bytes() == (tmp_path / "a.html").read_bytes()


def test_a_folder_is_compared_first_which_counts_as_a_look(
    two_arms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "page", lambda compared: f"<html>{len(compared.arms)} arms")
    written = gradclip_cli.report(two_arms, tmp_path / "new" / "page.html")
    assert str(written) == str(tmp_path / "new" / "page.html")
    assert Path(written).read_text() == "<html>2 arms"
    assert [look.arms for look in ledger.read_ledger(two_arms)[0].looks] == [["none", "clipvalue"]]


def test_what_is_no_page_is_left_alone_before_anything_is_done(two_arms: Path, tmp_path: Path) -> None:
    mine, before = tmp_path / "mine.html", tree(two_arms)
    mine.write_text("mine")
    with pytest.raises(StoreError, match="no page of gradclip's; name another file"):
        gradclip_cli.report(two_arms, mine)
    assert mine.read_text() == "mine"
    assert tree(two_arms) == before
    with pytest.raises(ReportError, match="there is no folder"):
        gradclip_cli.report(tmp_path / "nowhere", tmp_path / "page.html")


def test_a_notebook_shows_a_link_where_its_server_reaches_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "here"
    inside.mkdir()
    monkeypatch.chdir(inside)
    assert Page(Path("a b&c.html"))._repr_html_() == '<p><a href="a%20b%26c.html" target="_blank">a b&amp;c.html</a></p>'
    assert "<a" not in Page(tmp_path / "there.html")._repr_html_()
