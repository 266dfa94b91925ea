"""`gradclip report`: where the page is written, what is said, and what is never written over."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from conftest import call, contents, tree
from kept import draw_nothing

from gradclip_cli import plots
from gradclip_cli.evidence import ledger
from gradclip_cli.pages import interactive


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactive, "is_installed", lambda: False)
    monkeypatch.setattr(plots, "save_to", draw_nothing)


def test_a_page_is_written_beside_what_compare_writes(two_arms: Path) -> None:
    ended = call("report", "none", "clipvalue", "--results", str(two_arms))
    path = two_arms / "compare" / "none,clipvalue" / "report.html"
    assert (ended.exit_code, ended.stderr) == (0, f"wrote {path}\n")
    assert ended.stdout == "Too few runs for a verdict on clipvalue.\n"
    assert path.read_text().startswith("<!DOCTYPE html>\n")
    before = contents(two_arms)
    assert call("report", "none", "clipvalue", "--results", str(two_arms)).exit_code == 0
    assert contents(two_arms) == before


def test_the_look_is_on_record_as_one_of_compares_is(two_arms: Path, tmp_path: Path) -> None:
    assert call("report", "--metric", "loss", "--results", str(two_arms), "--output", str(tmp_path / "a.html")).exit_code == 0
    looks = ledger.read_ledger(two_arms)[0].looks
    assert [(look.metric, look.arms) for look in looks] == [("loss", ["none", "clipvalue"])]


def test_output_and_open_and_quiet(two_arms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(click, "launch", opened.append)
    path = tmp_path / "new" / "page.html"
    ended = call("report", "-q", "--open", "--baseline", "clipvalue", "--results", str(two_arms), "--output", str(path))
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert opened == [str(path)]
    assert "none against clipvalue" in path.read_text()


def test_a_file_that_is_no_page_is_left_alone_before_anything_is_done(two_arms: Path, tmp_path: Path) -> None:
    mine, before = tmp_path / "mine.html", tree(two_arms)
    mine.write_text("mine")
    ended = call("report", "--results", str(two_arms), "--output", str(mine))
    assert ended.exit_code == 1
    assert "no page of gradclip's; name another file with --output" in ended.stderr
    assert mine.read_text() == "mine"
    assert tree(two_arms) == before
