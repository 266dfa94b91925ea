"""What a treatment did: the share of steps on which two arms' clipping differed, and what can't be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import store_run
from made_up import BASE, against, store_arm

from gradclip_cli.evidence import comparison
from gradclip_cli.evidence.questions import Question

WIDER = ["clipping={mode: clipnorm, threshold: 1.0, layers: {dense: 5.0}}"]


def share(results: Path, base: str = "none") -> float | None:
    return against(comparison.compare(results, baseline=base), "arm").acted


def store(results: Path, arm: str, config: str, clipped: dict[str, int] | None = None, **changes: Any) -> None:
    recorded = {"clipped_steps": clipped} if clipped is not None else {}
    for seed, loss in enumerate(BASE):
        store_run(results, arm, seed, [2.0, 1.5, loss], base=config, **recorded, **changes)


@pytest.mark.parametrize("clipped", [0.0, 0.25, 1.0])
def test_against_an_unclipped_arm_they_are_the_clipped_steps(clipped: float, results: Path) -> None:
    store(results, "none", "none")
    store(results, "arm", "clipvalue", clipped_fraction=clipped)
    assert share(results) == clipped


@pytest.mark.parametrize(("clipped", "known"), [(0.0, None), (0.25, 0.25)])
def test_between_recorded_steps_clipping_may_have_acted(clipped: float, known: float | None, results: Path) -> None:
    store(results, "none", "none")
    store(results, "arm", "clipvalue", clipped_fraction=clipped, every=2)
    assert share(results) == known


def test_what_was_counted_is_a_share_of_the_recorded_steps(results: Path) -> None:
    store(results, "clipnorm", "clipnorm", {"lstm/kernel": 0}, every=2)
    store(results, "arm", "clipvalue", {"lstm/kernel": 3}, every=2)
    assert share(results, "clipnorm") == 0.5  # of 6 of the 12 steps a run


def test_arms_that_are_clipped_alike_are_no_treatment(results: Path) -> None:
    store(results, "none", "none")
    store(results, "arm", "none", settings=["model.units=12"])
    assert share(results) is None


@pytest.mark.parametrize(
    ("base", "arm", "expected"),
    [
        ({"lstm/kernel": 6, "dense/kernel": 0}, {"lstm/kernel": 6, "dense/kernel": 0}, 0.0),
        ({"lstm/kernel": 6, "dense/kernel": 3}, {"lstm/kernel": 9, "dense/kernel": 1}, 0.25),  # of 12 steps a run
    ],
)
def test_between_two_rules_only_what_they_treat_differently_counts(
    base: dict[str, int], arm: dict[str, int], expected: float, results: Path
) -> None:
    store(results, "clipnorm", "clipnorm", base)
    store(results, "arm", "clipnorm", arm, settings=WIDER)
    assert share(results, "clipnorm") == expected
    store(results, "clipvalue", "clipvalue", base)
    assert share(results, "clipvalue") == max(*base.values(), *arm.values()) / 12  # another rule treats all differently


def test_of_runs_that_did_not_keep_it_nothing_is_known(results: Path) -> None:
    store(results, "clipnorm", "clipnorm")
    store(results, "arm", "clipnorm", {"lstm/kernel": 1}, settings=WIDER)
    assert share(results, "clipnorm") is None


def test_a_run_without_a_whole_epoch_is_no_proof_that_nothing_was_clipped(results: Path) -> None:
    store(results, "none", "none")
    store_run(results, "arm", 0, [], status="diverged", base="clipvalue")
    assert share(results) is None


def test_what_never_acted_is_not_testable_whatever_the_differences_are(results: Path) -> None:
    """They come from elsewhere, such as rounding in another implementation of the same rule."""
    store(results, "clipnorm", "clipnorm", {"dense/kernel": 0})
    for seed, loss in enumerate(BASE):
        store_run(
            results, "arm", seed, [2.0, 1.5, loss - 0.001], base="clipnorm", settings=WIDER, clipped_steps={"dense/kernel": 0}
        )
    never = against(comparison.compare(results, baseline="clipnorm"), "arm")
    assert never.p_adjusted < 0.05
    assert never.verdict == "not testable"
    assert never.sentence.startswith("arm clipped no step otherwise than clipnorm on 8 shared seeds: whether it helps can't be")


@pytest.mark.parametrize(
    ("clipped", "better", "verdict"), [(0.0005, 0.0, "not testable"), (0.0005, 0.1, "helps"), (0.002, 0.0, "no difference shown")]
)
def test_what_hardly_acted_is_not_testable_unless_it_made_a_difference(
    clipped: float, better: float, verdict: str, results: Path
) -> None:
    store_arm(results, "none", BASE)
    finals = [loss - better + 0.01 * (-1) ** seed for seed, loss in enumerate(BASE)]
    store_arm(results, "arm", finals, base="clipvalue", clipped_fraction=clipped)
    hardly = against(comparison.compare(results), "arm")
    assert hardly.verdict == verdict
    assert ("arm did something else than none on 0.05% of the steps only" in hardly.sentence) == (verdict == "not testable")
    margins = comparison.compare(results, question=Question(margin=50))
    assert (against(margins, "arm").verdict == "equivalent") == (clipped > 0.001)  # to have done nothing is no equivalence
