"""The verdict table for elsewhere: the same figures as in a terminal, whatever the arms are called."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from made_up import BASE, BETTER, against, store_arm
from markdown_it import MarkdownIt

from gradclip_cli.evidence import comparison, pasted, report
from gradclip_cli.evidence.comparison import Comparison


@pytest.fixture
def compared(results: Path) -> Comparison:
    store_arm(results, "none", BASE)
    store_arm(results, "clip_norm", BETTER, base="clipnorm")
    return comparison.compare(results)


def renamed(compared: Comparison, name: str) -> Comparison:
    base, other = compared.arms
    return replace(compared, arms=(base, replace(other, arm=replace(other.arm, name=name))))


def latex_cells(text: str) -> list[list[str]]:
    """The cells of a LaTeX table's rows."""
    rows = re.findall(r"^(.*) \\\\$", text, flags=re.MULTILINE)
    return [re.split(r" & ", row) for row in rows]


def test_latex_has_the_table_with_booktabs_and_its_caption(compared: Comparison) -> None:
    text = pasted.to_latex(compared)
    heading, base, other = latex_cells(text)
    assert len(heading) == len(base) == len(other) == len(report.verdict_columns(compared))
    assert text.count("{lrrrrrrrrl}") == 1
    assert [text.index(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == sorted(
        text.index(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")
    )
    assert other[0] == r"clip\_norm"
    assert other[-1] == "helps"
    assert r"95\% intervals" in text
    assert heading[2] == r"test accuracy (\%)"
    assert "\N{MINUS SIGN}" not in text
    for begun in re.findall(r"\\begin\{([\w*]+)\}", text):
        assert text.count(f"\\end{{{begun}}}") == 1


def test_latex_is_never_wider_than_the_page_and_can_be_referred_to(compared: Comparison) -> None:
    """As wide as the text at most, by graphicx, which a paper with a figure has; it spans both columns where there are two."""
    text = pasted.to_latex(compared)
    assert r"\usepackage{booktabs,graphicx}" in text
    assert text.startswith(r"\begin{table*}")
    assert text.index(r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%") < text.index(r"\begin{tabular}")
    assert text.index(r"\end{tabular}}") < text.index(r"\end{table*}")
    assert text.index(r"\caption{") < text.index(r"\label{tab:verdicts}")


def test_latex_shows_every_sign_literally() -> None:
    assert pasted.for_latex(r"a_b%c&d#e$f{g}h\i~j^k<l>m|n") == (
        r"a\_b\%c\&d\#e\$f\{g\}h\textbackslash{}i\textasciitilde{}j\textasciicircum{}k$<$l$>$m\textbar{}n"
    )
    assert pasted.for_latex("\N{MINUS SIGN}0.3\n") == r"$-$0.3\textbackslash{}n"


def test_a_name_that_begins_like_an_argument_is_none(compared: Comparison) -> None:
    rows = latex_cells(pasted.to_latex(renamed(compared, "[1ex]")))
    assert rows[2][0] == "{}[1ex]"


def test_markdown_is_the_table_of_the_report(compared: Comparison) -> None:
    text = pasted.to_markdown(renamed(compared, "a|b"))
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert html.startswith("<table>")
    assert html.rstrip().endswith("</table>")
    assert "<td>a|b</td>" in html
    assert pasted.to_markdown(compared).rstrip("\n") in report.to_markdown(compared)


def test_csv_has_the_numbers_unrounded(compared: Comparison) -> None:
    base, other = pd.read_csv(io.StringIO(pasted.to_csv(compared))).to_dict("records")
    judged = against(compared, "clip_norm")
    assert (base["arm"], base["verdict"], base["metric"], base["unit"]) == ("none", "baseline", "val_accuracy", "%")
    assert pd.isna(base["difference"])
    assert other["typical"] == pytest.approx(compared.others[0].typical, rel=1e-12)
    assert other["difference"] == pytest.approx(judged.typical, rel=1e-12)
    assert (other["difference_low"], other["difference_high"]) == pytest.approx((judged.low, judged.high), rel=1e-12)
    assert other["difference_confidence"] == pytest.approx(0.95)
    assert other["p_adjusted"] == pytest.approx(judged.p_adjusted)
    assert (other["seeds"], other["shared_seeds"], other["won"], other["lost"], other["verdict"]) == (8, 8, 8, 0, "helps")


def test_one_arm_is_a_table_too(compared: Comparison) -> None:
    alone = replace(compared, arms=compared.arms[:1])
    for write in pasted.FORMATS.values():
        assert "baseline" in write(alone)
