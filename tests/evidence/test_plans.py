"""What was planned and what was looked at: verdicts rest on the plan, and a look is on record whatever is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import store_run

from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import comparison, plans, report


def store_arms(results: Path, seeds: range, *names: str) -> None:
    for name in names or ("none", "better"):
        for seed in seeds:
            store_run(results, name, seed, [2.0, 1.5, 1.0 + 0.01 * seed], base="none" if name.startswith("none") else "clipvalue")


def lay_down(path: Path, **content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema": 1, **content}))


def look(results: Path) -> comparison.Comparison:
    compared = comparison.compare(results)
    assert plans.record_look(results, compared.first_compared) is None
    return compared


def seeds_of(compared: comparison.Comparison) -> list[list[int]]:
    return [part.arm.seeds for part in compared.arms]


@pytest.mark.parametrize("plan", ["experiment.json", "sweep.json"])
def test_verdicts_rest_on_planned_seeds_and_a_note_says_so(plan: str, results: Path) -> None:
    store_arms(results, range(6))
    lay_down(results / plan, seeds=[0, 1, 2, 3], fresh_seeds=[4, 5])
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


def test_the_best_ones_of_a_sweep_have_the_plan_one_folder_up(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_arms(results / "best", range(2, 8))
    lay_down(results / "sweep.json", seeds=[0, 1], fresh_seeds=[2, 3, 4])
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


def test_a_look_is_on_record_whatever_is_written_and_is_not_forgotten(results: Path) -> None:
    store_arms(results, range(6))
    assert not look(results).notes
    assert json.loads((results / "looks.json").read_text()) == {
        "schema": 1,
        "first_compared": {"none": list(range(6)), "better": list(range(6))},
    }
    store_arms(results, range(6, 8))
    for _ in range(2):
        notes = look(results).notes
        assert len(notes) == 2
        assert "seeds 6-7 were added after a comparison" in notes[0]


def test_a_look_at_other_arms_keeps_what_is_on_record(results: Path) -> None:
    store_arms(results, range(3))
    look(results)
    store_arms(results, range(5), "other")
    before = json.loads((results / "looks.json").read_text())["first_compared"]
    assert plans.record_look(results, comparison.compare(results, ["other"]).first_compared) is None
    assert json.loads((results / "looks.json").read_text())["first_compared"] == {**before, "other": [0, 1, 2, 3, 4]}


def test_a_look_at_a_part_is_one_at_all_that_was_there(results: Path) -> None:
    store_arms(results, range(6))
    assert plans.record_look(results, comparison.compare(results, seeds=[0, 1]).first_compared) is None
    assert not look(results).notes


def test_looks_of_before_the_ledger_count(results: Path) -> None:
    store_arms(results, range(6))
    report.write(comparison.compare(results), results)
    assert not (results / "looks.json").exists()
    store_arms(results, range(6, 8))
    assert "seeds 6-7 were added after a comparison" in look(results).notes[0]
    (results / "comparison.json").write_text('{"schema": 1}')  # from before looks were told
    assert not comparison.compare(results).warnings
    (results / "comparison.json").unlink()
    assert "seeds 6-7 were added after a comparison" in look(results).notes[0]


def test_a_ledger_that_cannot_be_read_is_told_and_left_as_it_is(results: Path) -> None:
    store_arms(results, range(3))
    newer = '{"schema": 99, "first_compared": {}}'
    (results / "looks.json").write_text(newer)
    compared = comparison.compare(results)
    (warning,) = compared.warnings
    assert "newer gradclip" in warning
    assert "earlier looks are not known" in warning
    told = plans.record_look(results, compared.first_compared)
    assert told
    assert "newer gradclip" in told
    assert (results / "looks.json").read_text() == newer


def test_a_ledger_that_cannot_be_written_stops_no_look(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_arms(results, range(3))

    def full(*anything: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plans, "write_atomically", full)
    told = plans.record_look(results, comparison.compare(results).first_compared)
    assert told
    assert "No space left on device" in told
    assert "this look is not on record" in told
