"""What was planned for a folder's runs: verdicts rest on it, whichever file says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from planned import lay_down, store_arms, write_plan

from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import comparison


def seeds_of(compared: comparison.Comparison) -> list[list[int]]:
    return [part.arm.seeds for part in compared.arms]


@pytest.mark.parametrize("plan", ["plan.json", "experiment.json", "sweep.json"])
def test_verdicts_rest_on_planned_seeds_and_a_note_says_so(plan: str, results: Path) -> None:
    store_arms(results, range(6))
    write_plan(results / plan, seeds=[0, 1, 2, 3], fresh_seeds=[4, 5])
    compared = comparison.compare(results)
    assert seeds_of(compared) == [[0, 1, 2, 3]] * 2
    (note,) = compared.notes
    assert f"Only the seeds that {plan} planned count (0-3)" in note
    assert "4-5 (better, none)" in note
    assert "--seeds all" in note


def test_all_seeds_and_chosen_ones_count_only_when_asked_for(results: Path) -> None:
    store_arms(results, range(6))
    lay_down(results / "experiment.json", seeds=[0, 1, 2, 3])
    everything = comparison.compare(results, seeds="all")
    assert seeds_of(everything) == [list(range(6))] * 2
    assert [note for note in everything.notes if "better: seeds 4-5 are not among those that experiment.json planned" in note]
    assert seeds_of(comparison.compare(results, seeds=[0, 1])) == [[0, 1]] * 2
    (note,) = comparison.compare(results, seeds=[0, 1]).notes
    assert "Only the seeds asked for count (0-1). Stored beside them: 2-5 (better, none)" in note


@pytest.mark.parametrize("plan", ["plan.json", "sweep.json"])
def test_the_best_ones_of_a_sweep_have_the_plan_one_folder_up(plan: str, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_arms(results / "best", range(2, 8))
    write_plan(results / plan, seeds=[0, 1], fresh_seeds=[2, 3, 4])
    assert seeds_of(comparison.compare(results / "best")) == [[2, 3, 4]] * 2
    monkeypatch.chdir(results / "best")
    assert seeds_of(comparison.compare(Path())) == [[2, 3, 4]] * 2
    store_arms(results / "other", range(2, 8))
    assert seeds_of(comparison.compare(results / "other")) == [list(range(2, 8))] * 2


def test_an_arm_without_a_planned_seed_is_told(results: Path) -> None:
    store_arms(results, range(3))
    store_arms(results, range(50, 53), "late")
    lay_down(results / "experiment.json", seeds=[0, 1, 2])
    compared = comparison.compare(results)
    assert [part.arm.name for part in compared.arms] == ["none", "better"]
    assert "50-52 (late)" in compared.notes[0]
    with pytest.raises(ReportError, match=r"No run of these arms has a seed that experiment\.json planned .*--seeds all"):
        comparison.compare(results, ["late"])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"schema": 99, "seeds": [0]}', "newer gradclip"),
        ('{"seeds": [0]}', "no schema number"),
        ('{"schema": 1, "seeds": ["x"]}', "seeds"),
        ('{"schema": 1}', "seeds"),
        ("{", "can't be read"),
    ],
)
def test_a_plan_that_cannot_be_read_is_a_warning(content: str, why: str, results: Path) -> None:
    store_arms(results, range(3))
    (results / "experiment.json").write_text(content)
    compared = comparison.compare(results)
    assert seeds_of(compared) == [[0, 1, 2]] * 2
    (warning,) = compared.warnings
    assert why in warning
    assert "all stored seeds count" in warning


def test_a_whole_plan_goes_before_the_older_files(results: Path) -> None:
    store_arms(results, range(4))
    lay_down(results / "sweep.json", seeds=[0], fresh_seeds=[1])
    lay_down(results / "experiment.json", seeds=[0, 1, 2])
    assert seeds_of(comparison.compare(results)) == [[0, 1, 2]] * 2
    write_plan(results / "plan.json", seeds=[0, 1])
    assert seeds_of(comparison.compare(results)) == [[0, 1]] * 2


@pytest.mark.parametrize("damage", [{"metrics": "loss"}, {"tests": [{"arm": 1}]}, {"rules": None}, {"seen": {}}])
def test_a_damaged_plan_is_a_warning_too(damage: dict[str, object], results: Path) -> None:
    store_arms(results, range(3))
    write_plan(results / "plan.json", seeds=[0], **damage)
    compared = comparison.compare(results)
    assert seeds_of(compared) == [[0, 1, 2]] * 2
    (warning,) = compared.warnings
    assert f"plan.json: can't be read: {next(iter(damage))}" in warning
