"""Tables fit: whole where there is room, and what is missing is said."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ARTICLE, PRIMARY, call, slowly, store_run
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from terminal import in_terminal, plain

from gradclip_cli.cli import layout as tables
from gradclip_cli.evidence import comparison, report

WIDTHS = [60, 80, 100, 120, 200]


@functools.cache
def verdicts() -> tuple[list[str], list[list[str]]]:
    compared = comparison.compare(ARTICLE, ["none", "clipnorm", "clipvalue"])
    return report.verdict_columns(compared), report.verdict_rows(compared)


@pytest.mark.parametrize("width", [*WIDTHS, None])
def test_a_table_fits_and_keeps_its_primary_columns(width: int | None) -> None:
    headings, rows = verdicts()
    primary = ["arm", "difference", "p", "verdict", headings[2]]
    layout = tables.laid_out(tables.Table(headings, rows, primary, ["difference"], ["verdict"], "arm"), width)
    lines = [*layout.headings, *layout.rows]
    assert width is None or all(cell_len(line) <= width for line in lines)
    assert not re.search(r"…|\.\.\.", "\n".join(lines))
    words = " ".join(lines).split()
    for arm, accuracy, difference, p, verdict in (
        ("none", "67.7", None, None, "baseline"),
        ("clipnorm", "68.5", "+0.3", "0.5", "no difference shown"),
        ("clipvalue", "69.1", "+1.0", "0.0015", "helps"),
    ):
        assert {arm, accuracy, *verdict.split(), *([difference, p] if difference and p else [])} <= set(words)
    missing = [heading for heading in headings if heading not in primary and not set(heading.split()) <= set(words)]
    assert missing == [heading for heading in layout.left_out if heading in headings]
    assert ("[67.3," in words) == (not any(headings[2] in told for told in layout.left_out))


def test_a_pipe_gets_all_and_the_widest_terminal_too() -> None:
    headings, rows = verdicts()
    for width in (200, None):
        layout = tables.laid_out(tables.Table(headings, rows, primary=["arm"], names="arm"), width)
        assert layout.left_out == []
        assert all(cell in "\n".join(layout.rows) for row in rows for cell in row)


@pytest.mark.parametrize("width", WIDTHS)
def test_long_names_of_many_arms_are_wrapped_and_not_cut(width: int) -> None:
    names = [f"{'abcdefghij' * 19}k{number:02}xyzabcd" for number in range(40)]
    rows = [[name, "30", "68.2 [67.1, 69.3]", "+1.4 [0.1, 3.0]", "0.088", "no difference shown"] for name in names]
    headings = ["arm", "seeds", "accuracy (%)", "difference", "p", "verdict"]
    layout = tables.laid_out(
        tables.Table(headings, rows, ["arm", "difference", "p", "verdict"], texts=["verdict"], names="arm"), width
    )
    assert all(cell_len(line) <= width for line in layout.rows)
    shown = "".join(line[: line.find("  ")] if "  " in line else line for line in layout.rows)
    assert all(name in shown.replace(" ", "") for name in names)
    assert "…" not in shown


@pytest.mark.parametrize("width", [60, 100])
def test_a_wrapped_text_takes_the_room_that_is_left(width: int) -> None:
    rows = [["norm", "words " * 40], ["loss", "one word"]]
    layout = tables.laid_out(tables.Table(["gradients", "told"], rows, texts=["told"]), width)
    assert width - len("words ") < max(map(cell_len, layout.rows)) <= width
    assert not layout.left_out


def test_wrapping_loses_no_letter() -> None:
    for text in ("no difference shown", "global_clipnorm-0.5+optimizer.learning_rate=1", "a" * 50, "漢字" * 9, "", "a +b", "++"):
        for width in (4, 8, 20):
            lines = tables.wrapped(text, width)
            assert all(cell_len(line) <= width for line in lines)
            assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("width", [80, *slowly(120)])
def test_compare_shows_every_primary_figure_in_a_terminal(width: int, tmp_path: Path) -> None:
    code, shown = in_terminal("compare", *PRIMARY, "--results", str(ARTICLE), "--out", str(tmp_path), width=width)
    assert code == 0
    words = plain(shown).split()
    assert {*PRIMARY, *PRIMARY.values(), "0.5", "0.0015", "helps", "baseline", "0.944", "0.666", "30"} <= set(words)
    assert "…" not in shown
    table = plain(shown).partition("\n\n")[0].splitlines()
    assert all(len(line) <= width for line in table)
    assert ("Not shown" in shown) == (width < 120)


@pytest.mark.usefixtures("unrendered")
def test_compare_off_a_terminal_is_whole(tmp_path: Path) -> None:
    ended = call("compare", "--results", str(ARTICLE), "--out", str(tmp_path))
    assert "68.5 [67.3, 69.5]" in ended.stdout
    assert "0.944 ±0.111" in ended.stdout
    assert "explode-unscaled-inputs" in ended.stdout
    assert not re.search(r"…|\.\.\.|Not shown", ended.stdout)


@pytest.mark.parametrize(
    ("command", "width"), [("list", 60), ("list", 80), ("show", 60), pytest.param("show", 80, marks=pytest.mark.slow)]
)
def test_other_tables_fit_too(command: str, width: int, tmp_path: Path) -> None:
    results = tmp_path / "results"
    name = f"explode-none+{'x' * 60}=1"
    store_run(results, name, 3, [2.0, 1.5, 1.0])
    arguments = ["show", name, "--out", str(tmp_path)] if command == "show" else ["list"]
    _, shown = in_terminal(*arguments, "--results", str(results), width=width)
    assert "…" not in shown
    assert "complete" in plain(shown)
    if command == "show":
        assert {"2", "1.5", "1", "1.1"} <= set(plain(shown).split())
    else:
        assert all(len(line) <= width for line in plain(shown).splitlines())


@pytest.mark.parametrize("width", [30, 40, 80, None])
def test_a_styled_word_is_found_in_whatever_lines_it_is_broken_into(width: int | None) -> None:
    rows = [
        ["helps", "1", "helps"],
        ["an arm of a long name", "2", "no difference shown (exploratory: seeds added)"],
        ["\u4e2d", "3", "?"],
    ]
    styles = {"verdict": {"helps": "green", "no difference shown": "yellow", "no": "red"}}
    layout = tables.laid_out(tables.Table(["arm", "p", "verdict"], rows, texts=["verdict"], styles=styles), width)
    found = [
        (line[start:end], style) for line, spans in zip(layout.rows, layout.spans, strict=True) for start, end, style in spans
    ]
    assert [style for _, style in found] == ["green", *["yellow"] * (len(found) - 1)]
    assert "".join(text for text, _ in found).replace(" ", "") == "helpsnodifferenceshown"
    assert layout.rows[0].index("helps", 1) == layout.spans[0][0].start


@given(
    rows=st.lists(st.lists(st.text("ab \x1b\t-ü\N{CJK UNIFIED IDEOGRAPH-4E2D}", max_size=6), min_size=3, max_size=3), max_size=4),
    width=st.none() | st.integers(20, 40),
)
def test_rows_of_which_nothing_is_styled_look_as_those_of_which_something_might_be(
    rows: list[list[str]], width: int | None
) -> None:
    table = tables.Table(["arm", "a text", "n"], rows, texts=["a text"])
    styled = replace(table, styles={"n": {"none begins so": "bold"}})
    assert tables.laid_out(table, width) == tables.laid_out(styled, width)
