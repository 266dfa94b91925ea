"""Arms that differ in their perturbation only repeat each other: the spread within a seed is a score like any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import call, store_run
from made_up import against

from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import comparison, report
from gradclip_cli.evidence.arms import read_arms
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.questions import Question

METRIC = "repeatability"
SEEDS = 8


def store(results: Path, arm: str, base: str, losses: list[float], perturbation: float = 0.0, **changes: object) -> None:
    """Runs of seeds from 0 on that end at these training losses; accuracy is 0.9 minus a third of them."""
    settings = [f"model.perturbation={perturbation}"]
    for seed, loss in enumerate(losses):
        store_run(results, arm, seed, [2.0, 1.5, loss], base=base, settings=settings, **changes)


def store_repeated(results: Path, arm: str, base: str, width: float) -> None:
    """An arm and a replicate that end this far apart, and a little further from seed to seed."""
    store(results, arm, base, [1.0] * SEEDS)
    store(results, f"{arm}-again", base, [1.0 + width + seed / 100 for seed in range(SEEDS)], 1e-6)


@pytest.fixture
def repeated(results: Path) -> Path:
    store_repeated(results, "none", "none", 0.3)
    store_repeated(results, "clipnorm", "clipnorm", 0.03)
    return results


def compare(results: Path, *names: str, baseline: str | None = None) -> Comparison:
    return comparison.compare(results, names, baseline, Question(METRIC))


def within(*losses: float) -> float:
    """The spread of the accuracies of such runs, in points."""
    return float(100 * np.std(losses, ddof=1) / 3)


@pytest.mark.parametrize("names", [["none", "clipnorm"], []])
def test_each_seed_is_scored_by_its_own_runs(names: list[str], repeated: Path) -> None:
    """Whether the replicates are named or not, none of them is an arm that others are held against."""
    compared = compare(repeated, *names)
    assert [part.arm.name for part in compared.arms] == ["none", "clipnorm"]
    assert compared.baseline.scores == pytest.approx([within(1.0, 1.3 + seed / 100) for seed in range(SEEDS)])
    clipped = against(compared, "clipnorm")
    assert clipped.typical == pytest.approx(-within(0, 0.27))
    assert (clipped.verdict, clipped.won, clipped.p) == ("helps", SEEDS, pytest.approx(2 / 2**SEEDS))


def test_it_is_told_in_words(repeated: Path) -> None:
    compared = compare(repeated, "none", "clipnorm")
    assert (
        "clipnorm lowered spread of test accuracy within a seed by 6.4 points typically" in against(compared, "clipnorm").sentence
    )
    assert compared.notes == (
        "none is repeated by none-again (model.perturbation 1e-06): these runs count with its own.",
        "clipnorm is repeated by clipnorm-again (model.perturbation 1e-06): these runs count with its own.",
    )
    folder = repeated / "out"
    report.write(compared, folder)
    page, content = (folder / "comparison.md").read_text(), json.loads((folder / "comparison.json").read_text())
    assert "| arm | seeds | spread of test accuracy within a seed (points) |" in page
    assert "the standard deviation, over runs of one seed that rounding alone tells apart, of the last epoch's test acc" in page
    assert (content["metric"]["unit"], content["metric"]["higher_is_better"]) == ("points", False)
    axis = "difference in spread of test accuracy within a seed from none (points; better to the left)"
    assert axis in (folder / "differences.svg").read_text()


def test_a_replicate_that_is_named_counts_with_its_arm(repeated: Path) -> None:
    compared = compare(repeated, "none-again", "none", "clipnorm")
    assert [part.arm.name for part in compared.arms] == ["none", "clipnorm"]
    with pytest.raises(ReportError, match="No arm 'none-again' to compare with"):
        compare(repeated, "none", "none-again", "clipnorm", baseline="none-again")


def test_an_arm_without_replicates_is_refused_with_what_makes_some(repeated: Path) -> None:
    store(repeated, "clipvalue", "clipvalue", [1.0] * SEEDS)
    with pytest.raises(
        ReportError, match=r"clipvalue has no replicates.* differ in model\.perturbation only\. gradclip run "
    ) as said:
        compare(repeated, "none", "clipvalue")
    assert "--set model.perturbation=1e-6 --seeds 0-7 makes some, stored as another arm" in str(said.value)
    asked = call("compare", "none", "clipvalue", "--metric", METRIC, "--results", str(repeated))
    assert asked.exit_code == 1
    assert not (repeated / "compare").exists()


@pytest.mark.parametrize("difference", ["optimizer.learning_rate=0.02", "clipping.mode=none"])
def test_what_differs_in_more_is_no_replicate(difference: str, results: Path) -> None:
    store(results, "clipnorm", "clipnorm", [1.0] * SEEDS)
    for seed in range(SEEDS):
        settings = ["model.perturbation=1e-6", difference]
        store_run(results, "other", seed, [2.0, 1.5, 1.1], base="clipnorm", settings=settings)
    with pytest.raises(ReportError, match="clipnorm has no replicates"):
        compare(results, "clipnorm")


def test_the_same_runs_under_another_name_are_no_replicates(results: Path) -> None:
    store(results, "none", "none", [1.0] * SEEDS)
    store(results, "twin", "none", [1.0] * SEEDS)
    with pytest.raises(ReportError, match="none has no replicates"):
        compare(results, "none")
    store(results, "again", "none", [1.3] * SEEDS, 1e-6)
    store(results, "again-too", "none", [1.3] * SEEDS, 1e-6)  # what ran alike is no further evidence
    assert compare(results, "none").baseline.scores == pytest.approx([within(1.0, 1.3)] * SEEDS)


def test_seeds_count_that_have_replicates_and_as_many_in_each_arm(repeated: Path) -> None:
    """A third run in one arm alone would make its standard deviations larger, on average, than those of two."""
    store(repeated, "none-third", "none", [2.5] * 3, 2e-6)
    for seed in (20, 21):
        store_run(repeated, "none", seed, [2.0, 1.5, 1.0])
    compared = compare(repeated, "none", "clipnorm")
    assert compared.baseline.arm.seeds == list(range(SEEDS))
    assert compared.baseline.scores[0] == pytest.approx(within(1.0, 1.3))
    assert "none: seeds 20-21 have no replicate and don't count." in compared.notes
    alone = compare(repeated, "none")
    assert alone.baseline.scores[0] == pytest.approx(within(1.0, 1.3, 2.5))
    assert alone.baseline.scores[5] == pytest.approx(within(1.0, 1.35))


def test_diverged_runs_are_at_chance_and_agree_in_it(results: Path) -> None:
    store(results, "none", "none", [1.0] * SEEDS, status="diverged")
    store(results, "again", "none", [1.0] * SEEDS, 1e-6, status="diverged")
    store(results, "clipnorm", "clipnorm", [1.0] * SEEDS)
    store(results, "clipnorm-again", "clipnorm", [0.1] * SEEDS, 1e-6, status="diverged")
    compared = compare(results, "none", "clipnorm")
    assert compared.baseline.scores == [0.0] * SEEDS
    assert "none: all runs of seeds 0-7 diverged, so that they agree." in compared.notes
    assert compared.others[0].scores == pytest.approx([float(100 * np.std([0.9 - 1 / 3, 0.1], ddof=1))] * SEEDS)


def test_replicates_are_looked_at_and_checked_as_all_runs_are(repeated: Path) -> None:
    store_run(repeated, "clipnorm-again", 3, [2.0, 1.5, 1.1], base="clipnorm", settings=["model.perturbation=1e-6"], machine={})
    compared = compare(repeated, "none", "clipnorm")
    assert set(compared.first_compared) == {"none", "none-again", "clipnorm", "clipnorm-again"}
    assert not any("differs" in sentence for sentence in compared.differences)
    (repeated / "clipnorm-again" / "seed-0" / "metrics.csv").unlink()
    compared = compare(repeated, "none", "clipnorm")
    assert any("clipnorm-again/seed-0" in warning for warning in compared.warnings)
    assert "clipnorm: seeds 0 have no replicate and don't count." in compared.notes


def test_other_metrics_read_no_replicates(repeated: Path) -> None:
    compared = comparison.compare(repeated, ["none", "clipnorm"])
    assert all(not part.arm.replicates for part in compared.arms)
    assert set(compared.first_compared) == {"none", "clipnorm"}
    everything = comparison.compare(repeated, baseline="none")
    assert len(everything.arms) == len(read_arms(repeated)[0]) == 4
