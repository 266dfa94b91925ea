"""Commands on runs that are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import call, contents, store_run, tree

from gradclip_cli.cli import main
from gradclip_cli.errors import ExitCode
from gradclip_cli.evidence import report

pytestmark = pytest.mark.usefixtures("unrendered")


@pytest.fixture
def stored(results: Path) -> Path:
    for seed in range(2):
        store_run(results, "none", seed, [2.0, 1.5, 1.0 + seed / 10])
        store_run(results, "clipvalue", seed, [2.0, 1.4, 0.9], base="clipvalue")
    return results


def test_looking_leaves_a_report_as_it_is(stored: Path) -> None:
    for name in ("report.md", "claims.json", "comparison.json", "comparison.png", "differences.svg"):
        (stored / name).write_text('{"schema": 1, "first_compared": {}}')
    before = contents(stored)
    ended = call("compare", "none", "clipvalue", "--results", str(stored))
    assert ended.exit_code == 0, ended.output
    after = contents(stored)
    assert {name: after[name] for name in before} == before
    folder = stored / "compare" / "none,clipvalue"
    assert {path.relative_to(folder).as_posix() for path in folder.iterdir()} == set(report.FILES)
    assert f"to {folder}" in ended.stderr.replace("\n", "")
    assert set(after) - set(before) == {"looks.json", *(f"compare/none,clipvalue/{name}" for name in report.FILES)}


def test_compare_refuses_a_report_s_folder_with_out(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.md").write_text("mine")
    ended = call("compare", "--results", str(stored), "--out", str(tmp_path / "out"))
    assert ended.exit_code == 1
    assert "holds the files of a report (report.md)" in ended.stderr
    assert tree(tmp_path / "out") == {"report.md"}
    assert not (stored / "looks.json").exists()


def test_a_look_counts_whatever_folder_it_is_written_to(stored: Path, tmp_path: Path) -> None:
    for metric in ("val_accuracy", "loss", "loss"):
        ended = call("compare", "--results", str(stored), "--metric", metric, "--out", str(tmp_path / "elsewhere"))
        assert ended.exit_code == 0, ended.output
    assert "second metric looked at" in ended.stdout
    assert not (tmp_path / "elsewhere" / "looks.json").exists()
    looks = json.loads((stored / "looks.json").read_text())["looks"]
    assert [(look["arms"], look["metric"]) for look in looks] == [
        (["none", "clipvalue"], "val_accuracy"),
        (["none", "clipvalue"], "loss"),
    ]


def test_what_cannot_be_written_stops_no_look_unless_asked_for(stored: Path, tmp_path: Path) -> None:
    (stored / "compare").write_text("a file")
    (stored / "looks.json").mkdir()
    ended = call("compare", "--results", str(stored))
    assert ended.exit_code == 0, ended.output
    assert "clipvalue" in ended.stdout
    told = ended.stderr.replace("\n", " ")
    assert "this look is not on record" in told
    assert "nothing was written: " in told
    asked = call("compare", "--results", str(stored), "--out", str(stored / "compare"))
    assert asked.exit_code == 1


def test_compare_counts_the_planned_seeds_unless_told_otherwise(stored: Path) -> None:
    (stored / "experiment.json").write_text('{"schema": 1, "seeds": [1]}')

    def seeds(*options: str) -> list[int]:
        ended = call("compare", "--json", "--results", str(stored), *options)
        return list(json.loads(ended.stdout)["arms"][0]["seeds"])

    assert (seeds(), seeds("--seeds", "all"), seeds("--seeds", "1")) == ([1], [0, 1], [0])
    assert "Only the seeds that experiment.json planned count (1)" in call("compare", "--results", str(stored)).stdout


def test_one_arm_alone_has_its_notes(stored: Path) -> None:
    (stored / "experiment.json").write_text('{"schema": 1, "seeds": [1]}')
    assert "Stored beside them: 0 (none)" in call("compare", "none", "--results", str(stored)).stdout


def test_both_tables_say_what_they_are(stored: Path) -> None:
    told = call("compare", "--results", str(stored)).stdout
    first, second = told.index("As recorded: "), told.index("As scored: ")
    assert told.index("(val_accuracy)") < first < told.index("test accuracy (%)") < second


def test_compare_without_runs(tmp_path: Path) -> None:
    ended = call("compare", "--results", str(tmp_path))
    assert ended.exit_code == 1
    assert "Train some first" in ended.output


def test_counts_have_their_plural(three_arms: Path, tmp_path: Path) -> None:
    one = CliRunner().invoke(main, ["rm", "none/seed-3", "--results", str(three_arms)], input="n\n")
    assert "Remove 1 run for good?" in one.output
    two = CliRunner().invoke(main, ["rm", "none", "--results", str(three_arms)], input="n\n")
    assert "Remove 6 runs for good?" in two.output


READING = [["list"], ["show", "none"], ["compare"], ["rm", "none", "--yes"], ["export", "--csv", "-"]]


@pytest.mark.parametrize("command", READING, ids=lambda command: command[0])
def test_a_results_folder_that_is_not_there_is_a_mistake_with_what_was_meant(
    command: list[str], stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given, meant in ((stored.parent / "reslts", str(stored)), (stored.parent / "gone", None)):
        ended = call(*command, "--results", str(given))
        assert ended.exit_code == ExitCode.MISTAKEN, ended.output
        hint = f"; did you mean {meant}?" if meant else "."
        assert f"there is no folder {given}{hint}" in ended.stderr.replace("\n", "")
    (stored / "mine" / "none").mkdir(parents=True)
    monkeypatch.chdir(stored.parent)
    assert "there is no folder mine; did you mean results/mine?" in call(*command, "--results", "mine").stderr


def test_where_nothing_was_trained_yet_list_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for given in ([], ["--results", "results"]):
        ended = call("list", *given)
        assert (ended.exit_code, ended.stderr) == (
            ExitCode.DONE,
            "No runs in results. Train some first: gradclip run none clipvalue\n",
        )
    assert "No runs with the status diverged in results." in call("list", "--status", "diverged").stderr


def test_columns_without_a_number_in_any_epoch_are_left_out(results: Path) -> None:
    store_run(
        results, "none", 0, [2.0, 1.5], scores={"acc": (True, lambda loss: float("nan")), "f1": (True, lambda loss: 1 / loss)}
    )
    shown = call("show", "none", "--results", str(results))
    assert shown.exit_code == 0, shown.output
    headings = next(line.split() for line in shown.stdout.splitlines() if line.startswith("epoch"))
    assert headings[:5] == ["epoch", "loss", "f1", "val_loss", "val_f1"]
    assert " nan" not in shown.stdout
    facts = json.loads(call("show", "none", "--results", str(results), "--json").stdout)
    assert facts["metrics"][0]["acc"] is None
