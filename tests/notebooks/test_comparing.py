"""`gradclip_cli.compare`: what the command says, number for number, and looks on record as it leaves them."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import ARTICLE, call, contents, store_run
from made_up import BASE, BETTER, store_arm
from matplotlib.figure import Figure

import gradclip_cli
from gradclip_cli import plots
from gradclip_cli.cli.comparisons import ComparedOptions
from gradclip_cli.errors import ConfigError, GradclipError, ReportError
from gradclip_cli.evidence import figures, ledger
from gradclip_cli.notebooks import Compared

OF_A_PAIR = {
    "difference": "typical",
    "difference_low": "low",
    "difference_high": "high",
    "mean_difference": "mean",
    **{name: name for name in ("p", "p_adjusted", "won", "lost")},
}
"""Columns of the table by what a comparison's JSON calls them."""
INTEGERS = ("seeds", "diverged", "collapsed", "shared_seeds", "won", "lost")
TEXTS = ("arm", "metric", "unit", "baseline", "verdict", "exploratory")


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take long, and most tests are about something else."""
    if not request.node.get_closest_marker("rendered"):
        for module, name in ((plots, "comparison_figure"), (figures, "pairs_figure"), (plots, "save")):
            monkeypatch.setattr(module, name, lambda *given: None)


@pytest.fixture
def learned(results: Path) -> Path:
    """Three arms of eight seeds."""
    for name, finals in (("none", BASE), ("clipvalue", BETTER), ("clipnorm", BASE[::-1])):
        store_arm(results, name, finals, base=name)
    return results


def as_the_command_says(results: Path, *arguments: str) -> dict[str, Any]:
    ended = call("compare", "--json", "--results", str(results), "--out", str(results / "out"), *arguments)
    assert ended.exit_code == 0, ended.output
    said: dict[str, Any] = json.loads(ended.stdout)
    return said


def without_missing(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    """A table's rows, with None for what is missing."""
    return [
        {key: None if value is pd.NA or (isinstance(value, float) and math.isnan(value)) else value for key, value in row.items()}
        for row in frame.to_dict("records")
    ]


def require_equal(compared: Compared, said: dict[str, Any]) -> None:
    """Each number of the tables is the JSON's."""
    for row, arm in zip(without_missing(compared.verdicts), said["arms"], strict=True):
        pair = arm["against_baseline"] or {}
        assert {name: row[name] for name in OF_A_PAIR} == {name: pair.get(key) for name, key in OF_A_PAIR.items()}
        assert {name: row[name] for name in ("arm", "typical", "low", "high", "diverged", "collapsed")} == {
            name: arm[name] for name in ("arm", "typical", "low", "high", "diverged", "collapsed")
        }
        scores = compared.scores[compared.scores["arm"] == arm["arm"]]
        assert scores["seed"].tolist() == arm["seeds"]
        assert scores["score"].tolist() == arm["scores"]
        differences = compared.differences[compared.differences["arm"] == arm["arm"]]
        assert differences["difference"].tolist() == (pair.get("differences") or [])
        assert differences["seed"].tolist() == (pair["seeds"] if pair.get("differences") else [])
        assert row["exploratory"] == "; ".join(pair.get("exploratory", []))
    assert json.loads(compared.to_json()) == said


@pytest.mark.parametrize("metric", [None, "loss", "steps_to_target"])
def test_the_numbers_are_those_of_the_command(learned: Path, metric: str | None) -> None:
    said = as_the_command_says(learned, *(["--metric", metric] if metric else []), "--margin", "2", "--seeds", "0-6")
    require_equal(gradclip_cli.compare(learned, metric=metric, margin=2, seeds=range(7)), said)


def test_the_articles_packed_runs_say_what_is_committed(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    for name in ("runs.tar.xz", "runs.sha256", "experiment.json"):
        (results / name).write_bytes((ARTICLE / name).read_bytes())
    compared = gradclip_cli.compare(results, "none", "clipnorm", "clipvalue")
    committed = json.loads((ARTICLE / "comparison.json").read_text())
    arms = {arm["arm"]: arm for arm in committed["arms"]}
    for row in without_missing(compared.verdicts):
        pair = arms[row["arm"]]["against_baseline"] or {}
        assert {name: row[name] for name in OF_A_PAIR} == {name: pair.get(key) for name, key in OF_A_PAIR.items()}
        assert (row["typical"], row["seeds"]) == (arms[row["arm"]]["typical"], 30)
    assert len(compared.runs) == len(compared.scores) == 90
    assert not compared.exploratory


def test_columns_have_their_kinds(learned: Path) -> None:
    compared = gradclip_cli.compare(learned)
    kinds = compared.verdicts.dtypes.astype(str).to_dict()
    assert {name for name, kind in kinds.items() if kind == "Int64"} == set(INTEGERS)
    assert {name for name, kind in kinds.items() if kind == "str"} == set(TEXTS)
    assert {kind for name, kind in kinds.items() if name not in (*INTEGERS, *TEXTS)} == {"float64"}
    assert compared.scores.dtypes.astype(str).to_dict() == {
        "arm": "str",
        "seed": "int64",
        "score": "float64",
        "diverged": "bool",
        "collapsed": "boolean",
    }
    found = compared.differences
    assert list(found) == ["arm", "seed", "baseline_score", "score", "difference"]
    assert (found["score"] - found["baseline_score"]).to_numpy() == pytest.approx(found["difference"].to_numpy())
    pd.testing.assert_frame_equal(compared.arms, compared.comparison.table)


def test_it_takes_what_the_command_takes() -> None:
    taken = inspect.signature(gradclip_cli.compare).parameters
    assert set(taken) == {field.name for field in dataclasses.fields(ComparedOptions)}
    kinds = {name: given.kind for name, given in taken.items() if name not in ("results", "arms")}
    assert set(kinds.values()) == {inspect.Parameter.KEYWORD_ONLY}
    assert all(taken[name].default is None for name in kinds)


def test_what_is_said_is_what_the_command_prints(learned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = call("compare", "--results", str(learned)).stdout
    compared = gradclip_cli.compare(learned)
    assert all(sentence in " ".join(printed.split()) for sentence in compared.sentences)
    assert compared.to_latex() == call("compare", "--format", "latex", "--results", str(learned)).stdout
    assert compared.to_markdown() == call("compare", "--format", "markdown", "--results", str(learned)).stdout
    monkeypatch.setenv("COLUMNS", "200")
    told = str(compared).splitlines()
    assert " ".join(told[: told.index("")]) == compared.answer
    assert [line.split()[0] for line in told[-4:]] == ["arm", "none", "clipnorm", "clipvalue"]
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, str(compared).partition("\n\n")[2].splitlines())) <= 60


def test_looks_are_on_record_and_later_ones_exploratory_as_the_commands_are(learned: Path) -> None:
    for _ in range(2):
        assert not gradclip_cli.compare(learned, "none", "clipvalue").exploratory
    compared = gradclip_cli.compare(learned, "none", "clipvalue", metric="loss")
    assert [look.metric for look in ledger.read_ledger(learned)[0].looks] == ["val_accuracy", "loss"]
    told = "second metric looked at"
    assert compared.exploratory == [told]
    assert compared.verdicts["exploratory"].tolist() == ["", told]
    assert compared.verdicts["verdict"].tolist()[1] == f"helps (exploratory: {told})"
    assert all(f"exploratory: {told}" in text for text in (str(compared), compared._repr_html_(), compared.to_latex()))
    require_equal(compared, as_the_command_says(learned, "none", "clipvalue", "--metric", "loss"))


def test_seeds_added_after_a_look_are_exploratory(results: Path) -> None:
    store_arm(results, "none", BASE[:6])
    store_arm(results, "clipvalue", BETTER[:6], base="clipvalue")
    gradclip_cli.compare(results)
    store_arm(results, "none", BASE[6:], first_seed=6)
    store_arm(results, "clipvalue", BETTER[6:], first_seed=6, base="clipvalue")
    assert gradclip_cli.compare(results).verdicts["exploratory"].tolist() == ["", "seeds 6-7 added after a look"]


def test_a_look_that_can_not_be_recorded_is_warned_of(learned: Path) -> None:
    (learned / "looks.json").write_text('{"schema": 99, "first_compared": {}}')
    with pytest.warns(UserWarning, match="looks") as told:
        compared = gradclip_cli.compare(learned)
    assert any("this look is not on record" in str(warning.message) for warning in told)
    assert {warning.filename for warning in told} == {__file__}
    assert "earlier looks are not known" in compared.warnings[0]


def test_a_broken_run_is_warned_of(learned: Path) -> None:
    (learned / "none" / "seed-0" / "metrics.csv").write_text("")
    with pytest.warns(UserWarning, match=r"left out: .*none/seed-0"):
        compared = gradclip_cli.compare(learned)
    assert compared.verdicts["seeds"].tolist() == [7, 8, 8]
    assert "only clipvalue has 0" in " ".join(compared.sentences)


@pytest.mark.rendered
def test_one_arm_alone_has_no_differences(learned: Path) -> None:
    compared = gradclip_cli.compare(learned, "none")
    assert compared.verdicts["verdict"].tolist() == ["baseline"]
    assert compared.differences.empty
    assert compared.differences["difference"].dtype == float
    assert "There is one arm only, none" in compared._repr_html_()
    assert compared.answer in str(compared)
    assert isinstance(compared.differences_figure(), Figure)


def test_arms_that_share_no_seed_have_no_differences(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "clipvalue", BETTER, first_seed=8, base="clipvalue")
    compared = gradclip_cli.compare(results)
    assert compared.differences.empty
    assert compared.verdicts["verdict"].tolist() == ["baseline", "no shared seed"]
    assert compared.verdicts[["difference", "p"]].isna().all(axis=None)
    assert "No seed is shared with none by clipvalue." in compared.answer
    require_equal(compared, as_the_command_says(results))


def test_runs_without_seeds_are_unpaired(results: Path) -> None:
    for name, finals in (("none", BASE), ("clipvalue", BETTER)):
        store_arm(results, name, finals, base=name, recorded=True, seed_named=False)
    compared = gradclip_cli.compare(results)
    assert compared.differences.empty
    kinds = compared.verdicts.dtypes.astype(str)
    assert (kinds["paired"], kinds["baseline_runs"], kinds["superiority"]) == ("boolean", "Int64", "float64")
    assert compared.verdicts["paired"].tolist()[1] is False
    assert compared.verdicts["shared_seeds"].isna().all()
    require_equal(compared, as_the_command_says(results))


def test_arms_without_accuracy_can_not_collapse(results: Path) -> None:
    for name, finals in (("none", BASE), ("clipvalue", BETTER)):
        store_arm(results, name, finals, base=name, scores={"mae": (False, lambda loss: loss / 2)})
    compared = gradclip_cli.compare(results)
    assert compared.scores["collapsed"].isna().all()
    assert compared.verdicts["metric"].tolist() == ["val_mae"] * 2


def test_names_are_text_whatever_they_hold(results: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>\x1b[31m&"  # as a folder may be called, though no config is
    store_arm(results, "none", BASE)
    store_arm(results, "plain", BETTER, base="clipvalue")
    (results / "plain").rename(results / hostile)
    compared = gradclip_cli.compare(results)
    page = compared._repr_html_()
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "\x1b" not in page + str(compared) + repr(compared)


@pytest.mark.rendered
def test_files_and_figures_are_the_commands(learned: Path, tmp_path: Path) -> None:
    assert call("compare", "none", "clipvalue", "--results", str(learned)).exit_code == 0
    by_command = contents(learned / "compare" / "none,clipvalue")
    compared = gradclip_cli.compare(learned, "none", "clipvalue")
    assert compared.folder == learned / "compare" / "none,clipvalue"
    paths = compared.write(tmp_path / "mine")
    assert contents(tmp_path / "mine") == by_command
    assert {path.name for path in paths} == set(by_command)
    compared.figure().savefig(tmp_path / "mine.png")
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_is_not_written_over(learned: Path) -> None:
    (learned / "report.md").write_text("mine")
    with pytest.raises(ReportError, match="holds the files of a report"):
        gradclip_cli.compare(learned).write(learned)
    assert not (learned / "comparison.json").exists()


@pytest.mark.rendered
def test_steps_that_a_figure_lacks_are_warned_of_when_it_is_drawn(learned: Path) -> None:
    (learned / "none" / "seed-0" / "steps.csv").write_text("step\n")
    compared = gradclip_cli.compare(learned, "none", "clipvalue")
    with pytest.warns(UserWarning, match=r"none/seed-0/steps\.csv") as told:
        compared.figure()
    assert {warning.filename for warning in told} == {__file__}


@pytest.mark.parametrize(
    ("given", "kind", "told"),
    [
        ({"metric": "mae"}, ReportError, "has no metric 'mae'. There are: val_accuracy"),
        ({"baseline": "clipval"}, ReportError, "did you mean 'clipvalue'?"),
        ({"seeds": [99]}, ReportError, "No run of these arms has a seed asked for (99)"),
        ({"margin": -1.0}, ConfigError, "margin=-1.0: give a positive number"),
        ({"effect": math.nan}, ConfigError, "effect=nan: give a positive number"),
    ],
)
def test_what_can_not_be_asked_is_told_with_what_to_do(
    learned: Path, given: dict[str, Any], kind: type[GradclipError], told: str
) -> None:
    with pytest.raises(kind) as caught:
        gradclip_cli.compare(learned, **given)
    assert told in str(caught.value)
    assert not (learned / "looks.json").exists()


def test_arms_in_the_folders_place_are_told(learned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(learned.parent)
    with pytest.raises(ReportError, match="What comes first is the folder of runs, such as 'results'"):
        gradclip_cli.compare("none", "clipvalue")
    assert gradclip_cli.compare().verdicts["arm"].tolist() == ["none", "clipnorm", "clipvalue"]


def test_a_folder_without_runs_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"No runs in .* Train some first"):
        gradclip_cli.compare(tmp_path)


def test_seeds_that_were_not_planned_count_only_when_asked_for(results: Path) -> None:
    for seed in range(8):
        store_run(results, "none", seed, [2.0, BASE[seed]])
        store_run(results, "clipvalue", seed, [2.0, BETTER[seed]], base="clipvalue")
    (results / "experiment.json").write_text('{"schema": 1, "seeds": [0, 1, 2, 3, 4, 5]}')
    assert gradclip_cli.compare(results).verdicts["seeds"].tolist() == [6, 6]
    compared = gradclip_cli.compare(results, seeds="all")
    assert compared.verdicts["seeds"].tolist() == [8, 8]
    assert compared.verdicts["exploratory"].tolist()[1] == "seeds 6-7 not planned"
