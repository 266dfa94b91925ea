"""Whether twins started alike: from what both runs say, and with the reason where they didn't."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import store_run
from made_up import against

from gradclip_cli.evidence import comparison, report
from gradclip_cli.evidence.starts import SameStart


def store(results: Path, arm: str, *starts: str, settings: list[str] | None = None, **changes: Any) -> None:
    """A run a seed, with the initial weights that `starts` say."""
    for seed, weights in enumerate(starts):
        said = {"initial_weights_sha256": weights, "first_epoch_sha256": f"batches of seed {seed}", **changes}
        store_run(results, arm, seed, [2.0, 1.5, 1.0 + seed], settings=settings or [], **said)


def told(results: Path) -> tuple[SameStart, list[int], list[str]]:
    compared = comparison.compare(results, baseline="none")
    found = against(compared, "arm")
    return found.same_start, found.other_start, [note for note in compared.notes if "start alike" in note]


def test_alike_is_in_the_json_only(results: Path) -> None:
    for arm in ("none", "arm"):
        store(results, arm, "a", "b")
    assert told(results) == ("yes", [], [])
    content = json.loads(report.to_json(comparison.compare(results)))
    assert content["arms"][1]["against_baseline"]["same_start"] == "yes"


def test_older_runs_do_not_say(results: Path) -> None:
    store(results, "none", "a", "b")
    for seed in range(2):
        store_run(results, "arm", seed, [2.0, 1.5, 1.0])
    assert told(results) == ("unknown", [], [])
    store_run(results, "arm", 1, [2.0, 1.5, 1.0], initial_weights_sha256="c", first_epoch_sha256="batches of seed 1")
    assert told(results)[:2] == ("no", [1])  # one that differs decides


def test_a_factory_that_does_not_seed_is_told(results: Path) -> None:
    store(results, "none", "a", "b", "c")
    store(results, "arm", "a", "x", "y")
    same, seeds, notes = told(results)
    assert (same, seeds) == ("no", [1, 2])
    assert notes == [
        "arm and none did not start alike: other initial weights on seeds 1-2, though their configs don't say so: "
        "not everything is seeded."
    ]


@pytest.mark.parametrize("setting", ["model.perturbation=1e-6", "model.recurrent_gain=2", "model.forget_bias=0"])
def test_other_weights_by_config_are_expected(setting: str, results: Path) -> None:
    store(results, "none", "a")
    store(results, "arm", "x", settings=[setting])
    (note,) = told(results)[2]
    assert note.endswith(f"other initial weights on seed 0, as their configs say ({setting.partition('=')[0]}).")


def test_other_batches_are_told_apart(results: Path) -> None:
    store(results, "none", "a")
    store(results, "arm", "a", settings=["data.batch_size=16"], first_epoch_sha256="others")
    (note,) = told(results)[2]
    assert note.endswith("other batches in the first epoch on seed 0, as their configs say (data.batch_size).")
    store(results, "arm", "a", first_epoch_sha256="others")
    assert "don't say so" in told(results)[2][0]


def test_only_shared_seeds_count(results: Path) -> None:
    store(results, "none", "a", "b")
    store(results, "arm", "a")
    assert told(results)[:2] == ("yes", [])
