"""The ledger of looks: a look is on record whatever is written and wherever, each one once, and older records count."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from planned import look, record, store_arms

from gradclip_cli.evidence import comparison, ledger, report
from gradclip_cli.evidence.questions import Question
from gradclip_cli.runs import locks


def looks_at(results: Path) -> list[tuple[str | None, str | None]]:
    """Baseline and metric of each look on record."""
    found, warnings = ledger.read_ledger(results)
    assert not warnings
    return [(seen.baseline, seen.metric) for seen in found.looks]


def test_a_look_is_on_record_whatever_is_written_and_is_not_forgotten(results: Path) -> None:
    store_arms(results, range(6))
    assert not look(results).notes
    content = json.loads((results / "looks.json").read_text())
    assert content["schema"] == 2
    assert content["first_compared"] == {"none": list(range(6)), "better": list(range(6))}
    (seen,) = content["looks"]
    assert datetime.fromisoformat(seen.pop("when")).tzinfo
    assert seen == {"arms": ["none", "better"], "baseline": "none", "metric": "val_accuracy", "seeds": list(range(6))}
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
    assert record(results, comparison.compare(results, ["other"])) is None
    assert json.loads((results / "looks.json").read_text())["first_compared"] == {**before, "other": [0, 1, 2, 3, 4]}


def test_a_look_at_a_part_is_one_at_all_that_was_there(results: Path) -> None:
    store_arms(results, range(6))
    assert record(results, comparison.compare(results, seeds=[0, 1])) is None
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
    told = record(results, compared)
    assert told
    assert "newer gradclip" in told
    assert (results / "looks.json").read_text() == newer


def test_a_ledger_that_cannot_be_written_stops_no_look(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_arms(results, range(3))

    def full(*anything: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ledger, "write_atomically", full)
    told = record(results, comparison.compare(results))
    assert told
    assert "No space left on device" in told
    assert "this look is not on record" in told


def test_another_look_is_one_and_the_same_one_is_none(results: Path) -> None:
    store_arms(results, range(6))
    for _ in range(2):
        look(results)
        look(results, "loss")
        record(results, comparison.compare(results, ["better", "none"]))  # in another order
    assert looks_at(results) == [("none", "val_accuracy"), ("none", "loss")]
    before = (results / "looks.json").read_bytes()
    look(results)
    assert (results / "looks.json").read_bytes() == before
    record(results, comparison.compare(results, seeds=[0, 1]))
    record(results, comparison.compare(results, baseline="better"))
    assert looks_at(results)[2:] == [("none", "val_accuracy"), ("better", "val_accuracy")]


def test_another_target_is_another_metric(results: Path) -> None:
    store_arms(results, range(6))
    for target in (1.2, 1.4, 1.2):
        record(results, comparison.compare(results, question=Question("steps_to_target", target_loss=target)))
    assert looks_at(results) == [("none", "steps_to_target 1.2"), ("none", "steps_to_target 1.4")]


def test_what_older_records_tell_counts_as_a_look(results: Path) -> None:
    store_arms(results, range(6))
    (results / "looks.json").write_text('{"schema": 1, "first_compared": {"none": [0, 1], "better": [0, 2]}}')
    found, _ = ledger.read_ledger(results)
    assert [seen.seeds for seen in found.looks] == [[0, 1, 2]]
    look(results, "loss")
    assert looks_at(results) == [(None, None), ("none", "loss")]
    content = json.loads((results / "looks.json").read_text())
    assert (content["schema"], content["first_compared"]["better"]) == (2, [0, 2])


def test_a_comparison_from_before_the_ledger_is_its_first_look(results: Path) -> None:
    store_arms(results, range(6))
    report.write(comparison.compare(results), results)
    assert looks_at(results) == [(None, None)]
    look(results, "loss")
    assert looks_at(results) == [(None, None), ("none", "loss")]


def test_no_lock_is_left_behind(results: Path) -> None:
    store_arms(results, range(2))
    look(results)
    assert not [path for path in results.iterdir() if path.name.startswith(".")]


def test_looks_at_one_time_are_all_on_record(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_arms(results, range(2))
    monkeypatch.setattr(locks, "WAIT", 0.001)
    seen = comparison.compare(results).look
    looks = [seen.model_copy(update={"metric": f"metric {number}"}) for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(lambda each: ledger.record(results, {"none": [0, 1]}, [each]), looks))
    assert told == [None] * 8
    assert {metric for _, metric in looks_at(results)} == {look.metric for look in looks}
