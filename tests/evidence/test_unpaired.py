"""Arms of runs whose seeds nobody named: compared unpaired, whatever their numbers, and everything that is told says so."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from conftest import store_run
from made_up import BASE, BETTER, against, store_arm
from recordings import SEEN, records

from gradclip_cli.evidence import comparison, figures, ledger, pasted, remarks, report
from gradclip_cli.evidence.questions import Question
from gradclip_cli.evidence.two_samples import TwoSamples
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.recorder.places import Place
from gradclip_cli.recorder.recording import Recording

UNNAMED = {"recorded": True, "seed_named": False}
SPREAD = [1.00, 1.35, 1.10, 0.75, 0.90, 1.20, 1.02, 0.58]
LOSS = Question("loss")


def record(folder: Path, finals: list[float], *, clipped: bool) -> None:
    """A recorder's runs, each of which ends at one of these losses."""
    seen = replace(SEEN, clipping=RULES["clipnorm"].model_validate({"threshold": 1.0}) if clipped else RULES["none"]())
    for final in finals:
        recording = Recording(Place(folder))
        recording.begin(seen)
        recording.steps = 4
        recording.add(records())
        recording.end_epoch({"loss": final})
        recording.finish()


def test_what_a_recorder_numbered_is_not_paired(results: Path) -> None:
    """Each run is better than its twin would be by its number, yet not better than those of all others."""
    record(results / "plain", SPREAD, clipped=False)
    record(results / "mine", [loss - 0.01 for loss in SPREAD], clipped=True)
    compared = comparison.compare(results)
    found = against(compared, "mine")
    assert found.unpaired
    assert found.p == pytest.approx(scipy.stats.mannwhitneyu([loss - 0.01 for loss in SPREAD], SPREAD).pvalue, abs=0.05)
    assert found.verdict == "no difference shown"
    assert "8 unpaired runs against 8: better in 56% of all pairs of runs" in found.sentence
    assert compared.notes == (
        "mine is compared with plain unpaired, each run with each of its runs: nobody named the seeds of runs 0-7 of plain, 0-7 "
        "of mine; they are numbered in the order of recording, which pairs nothing. To pair runs, record each in the folder of "
        "its seed, such as results/ARM/seed-7.",
    )


def test_where_nothing_is_evaluated_the_training_loss_decides(results: Path) -> None:
    record(results / "plain", SPREAD, clipped=False)
    record(results / "mine", SPREAD, clipped=True)
    compared = comparison.compare(results)
    assert compared.metric.name == "loss"
    assert {part.arm.evaluation_split for part in compared.arms} == {"training"}
    assert compared.result_columns == ["loss"]


def test_named_seeds_are_paired(results: Path) -> None:
    for seed, loss in enumerate(SPREAD):
        record(results / "plain" / f"seed-{seed}", [loss], clipped=False)
        record(results / "mine" / f"seed-{seed}", [loss - 0.01], clipped=True)
    compared = comparison.compare(results)
    found = against(compared, "mine")
    assert (found.unpaired, found.p, found.won, found.verdict) == (None, 2 / 256, 8, "helps")
    assert not compared.notes


def test_numbers_change_nothing(results: Path, tmp_path: Path) -> None:
    told = []
    for place, finals in ((results, BETTER), (tmp_path / "other", BETTER[::-1])):
        store_arm(place, "none", BASE, **UNNAMED)
        store_arm(place, "arm", finals, base="clipvalue", first_seed=0 if place == results else 100, **UNNAMED)
        told.append(against(comparison.compare(place, question=LOSS), "arm").to_dict())
    samples = TwoSamples.of(np.array(BETTER), np.array(BASE))
    assert told[0].pop("seeds") == list(range(8))
    assert told[1].pop("seeds") == list(range(100, 108))
    assert told[0] == told[1]
    assert (told[0]["p"], told[0]["typical"]) == (samples.p, pytest.approx(samples.typical))


def test_some_named_are_unpaired_and_the_note_says_which(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "arm", BETTER[:5], base="clipvalue")
    for seed in (5, 6, 9):
        store_run(results, "arm", seed, [2.0, 1.5, 0.9], base="clipvalue", **UNNAMED)
    store_arm(results, "other", BETTER, base="clipnorm")
    compared = comparison.compare(results)
    assert compared.unpaired == ["arm"]
    assert "nobody named the seeds of runs 5-6, 9 of arm; they" in compared.notes[0]
    assert against(compared, "other").won == 8
    assert [row[6] for row in report.verdict_rows(compared)] == ["", "81%", "8/8"]
    assert remarks.scope_sentence(compared).startswith("Verdicts speak of these runs, this model and this test set. p-values")


def test_pairs_and_unpaired_are_adjusted_together(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "paired", BETTER, base="clipvalue")
    store_arm(results, "unpaired", BETTER, base="clipvalue", **UNNAMED)
    compared = comparison.compare(results)
    paired, unpaired = against(compared, "paired"), against(compared, "unpaired")
    assert paired.p < unpaired.p
    assert (paired.p_adjusted, unpaired.p_adjusted) == (pytest.approx(2 * paired.p), pytest.approx(unpaired.p))
    assert (paired.level, unpaired.level) == (0.025, 0.05)


def test_what_only_pairs_have_is_absent(results: Path) -> None:
    store_arm(results, "none", [*BASE, 1.11], **UNNAMED)
    store_arm(results, "arm", BETTER, base="clipvalue", **UNNAMED)
    compared = comparison.compare(results, question=LOSS)
    content = json.loads(report.to_json(compared))["arms"][1]["against_baseline"]
    of_pairs = ("differences", "median", "carriers", "won", "lost", "tied", "sign_p", "same_start", "other_start")
    assert [content[name] for name in of_pairs] == [None] * len(of_pairs)
    better = sum(one < other - 1e-9 for one in BETTER for other in [*BASE, 1.11])
    assert content["unpaired"] == {
        "runs": 8,
        "baseline_runs": 9,
        "better": better,
        "worse": 71 - better,
        "tied": 1,
        "superiority": pytest.approx((better + 0.5) / 72),
    }
    documented = (Path(__file__).parents[2] / "docs" / "comparison.md").read_text()
    assert not [key for key in (*content, *content["unpaired"]) if f"`{key}`" not in documented]


def test_pairs_say_nothing_of_it(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "arm", BETTER, base="clipvalue")
    compared = comparison.compare(results)
    everything = "".join(
        (report.to_json(compared), report.to_markdown(compared), *(to(compared) for to in pasted.FORMATS.values()))
    )
    assert "npaired" not in everything
    assert "superiority" not in everything
    assert "seeds" in report.verdict_columns(compared)


def test_tables_to_paste_say_so(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "arm", [loss - 0.1 for loss in BETTER], base="clipvalue", **UNNAMED)
    store_arm(results, "other", BETTER, base="clipvalue")
    compared = comparison.compare(results)
    rows = {row["arm"]: row for row in csv.DictReader(pasted.to_csv(compared).splitlines())}
    assert [rows[name]["paired"] for name in ("none", "arm", "other")] == ["", "False", "True"]
    assert [rows[name]["shared_seeds"] for name in ("arm", "other")] == ["", "8"]
    assert rows["arm"]["verdict"] == "helps (unpaired)"
    assert rows["arm"]["baseline_runs"] == "8"
    assert float(rows["arm"]["superiority"]) > 0.8
    for text in (pasted.to_latex(compared), pasted.to_markdown(compared), report.to_markdown(compared)):
        assert "helps (unpaired)" in text
    assert "Unpaired differences are the middle of those between each run" in report.verdict_caption(compared)
    assert "![Differences](differences.png)" in report.to_markdown(compared)


@pytest.mark.usefixtures("unrendered")
def test_one_run_each_is_exploratory(results: Path) -> None:
    store_arm(results, "none", [1.0], **UNNAMED)
    store_arm(results, "arm", [0.9], base="clipvalue", first_seed=3, **UNNAMED)
    compared = comparison.compare(results, question=LOSS)
    found = against(compared, "arm")
    assert found.verdict == "exploratory"
    assert found.sentence == (
        "arm against none at SGD 0.01 is exploratory: in 1 unpaired run against 1 it lowered training loss by 0.100 nats, but "
        "so few can't give p below 1; 4 runs of each could."
    )
    assert remarks.planning_sentence(compared) is None
    report.write(compared, results)


def test_four_against_four_can_give_a_verdict(results: Path) -> None:
    store_arm(results, "none", [1.0, 1.01, 1.02, 1.03], **UNNAMED)
    store_arm(results, "arm", [0.9, 0.91, 0.92, 0.93], base="clipvalue", **UNNAMED)
    found = against(comparison.compare(results), "arm")
    assert (found.verdict, found.p, found.smallest_p) == ("helps", pytest.approx(2 / 70), pytest.approx(2 / 70))
    store_arm(results, "other", [0.9, 0.91, 0.92, 0.93], base="clipnorm", **UNNAMED)
    found = against(comparison.compare(results), "arm")
    assert (found.verdict, found.seeds_for_a_verdict) == ("exploratory", 5)
    assert "so few can't give p below 0.057; 5 runs of each could" in found.sentence


def test_divergence_and_collapse_are_fishers(results: Path) -> None:
    store_arm(results, "none", BASE, **UNNAMED)
    for seed in range(8):
        store_run(
            results, "arm", seed, [1.0, 1.0, 2.0], base="clipvalue", status="diverged" if seed < 5 else "complete", **UNNAMED
        )
    compared = comparison.compare(results)
    found = against(compared, "arm")
    assert found.divergence_p == pytest.approx(scipy.stats.fisher_exact([[5, 3], [0, 8]]).pvalue)
    assert found.collapses
    assert found.collapses.p == pytest.approx(scipy.stats.fisher_exact([[8, 0], [0, 8]]).pvalue)
    told = remarks.collapse_sentence(compared)
    assert told
    assert told.endswith("Exact Fisher tests, not adjusted.")
    store_arm(results, "other", BETTER, base="clipnorm")
    store_arm(results, "paired", BETTER)
    told = remarks.collapse_sentence(comparison.compare(results, ["paired", "other", "arm"], "paired"))
    assert told
    assert told.endswith("Exact McNemar tests, Fisher's of unpaired arms, not adjusted.")


@pytest.mark.parametrize(("margin", "verdict"), [(0.5, "equivalent"), (0.3, "no difference shown")])
def test_a_margin_is_asked_of_each_run(margin: float, verdict: str, results: Path) -> None:
    store_arm(results, "none", SPREAD, **UNNAMED)
    store_arm(results, "arm", [loss + 0.01 for loss in SPREAD], base="clipvalue", **UNNAMED)
    found = against(comparison.compare(results, question=Question("loss", margin=margin)), "arm")
    assert found.verdict == verdict


def test_one_collapse_in_either_arm_is_no_equivalence(results: Path) -> None:
    for name, finals in (("none", [1.0 + 0.001 * seed for seed in range(12)]), ("arm", [1.0] * 11 + [2.2])):
        store_arm(results, name, finals, base="clipvalue" if name == "arm" else "none", **UNNAMED)
    for base, arm, not_worse in (("none", "arm", False), ("arm", "none", True)):
        found = against(comparison.compare(results, ["none", "arm"], base, Question("loss", margin=0.3)), arm)
        assert (found.equivalent, found.not_worse) == (False, not_worse)
    assert "0 of 12 runs are worse than arm typically is by more; up to 26% of all may be" in found.sentence


def test_clipping_that_never_acted_can_not_be_tested(results: Path) -> None:
    store_arm(results, "none", SPREAD, clipped_fraction=0.0, **UNNAMED)
    store_arm(results, "arm", SPREAD[1:], base="clipvalue", clipped_fraction=0.0, **UNNAMED)
    found = against(comparison.compare(results), "arm")
    assert found.sentence == (
        "Clipping never acted in these runs, so arm trained as none did in 7 unpaired runs against 8: whether it helps can't be "
        "tested here."
    )


def test_so_unequal_numbers_are_minded(results: Path) -> None:
    store_arm(results, "none", [1.0 + 0.01 * seed for seed in range(12)], **UNNAMED)
    store_arm(results, "arm", [0.5, 0.51, 0.52, 0.53], base="clipvalue", **UNNAMED)
    found = against(comparison.compare(results), "arm")
    assert found.sentence.endswith("false where the fewer spread three times as wide: train more of arm.")


def test_ties_and_two_stories_are_told(results: Path) -> None:
    store_arm(results, "none", [1.0] * 10, **UNNAMED)
    store_arm(results, "arm", [1.0] * 4 + [0.99] * 5 + [2.2], base="clipvalue", **UNNAMED)
    found = against(comparison.compare(results, question=LOSS), "arm")
    assert "better in 50% and as good in 40% of all pairs of runs" in found.sentence
    assert "40% of all pairs of runs are tied, which speaks against a verdict" in found.sentence
    store_arm(results, "two", [0.9 - 0.001 * seed for seed in range(9)] + [2.3], base="clipvalue", **UNNAMED)
    found = against(comparison.compare(results, ["none", "two"], question=LOSS), "two")
    assert "Better typically, worse on average: few runs make that average." in found.sentence


def test_planning_is_of_two_samples(results: Path) -> None:
    store_arm(results, "none", SPREAD, **UNNAMED)
    store_arm(results, "arm", SPREAD[:7], base="clipvalue", **UNNAMED)
    told = remarks.planning_sentence(comparison.compare(results))
    assert told
    assert told.startswith("With this spread, 7 runs against 8 detect a typical difference of")
    assert " runs of each arm (" in told
    store_arm(results, "flat", [1.0] * 8, **UNNAMED)
    store_arm(results, "as_flat", [1.0] * 8, base="clipvalue", **UNNAMED)
    told = remarks.planning_sentence(comparison.compare(results, ["flat", "as_flat"]))
    assert told == "Each arm's runs score the same, so there is no spread to plan further runs from."


def test_the_picture_shows_each_run_from_the_baselines_typical_score(results: Path) -> None:
    store_arm(results, "none", SPREAD, **UNNAMED)
    store_arm(results, "arm", BETTER, base="clipvalue", **UNNAMED)
    compared = comparison.compare(results, question=LOSS)
    [row] = figures.difference_rows(compared)
    assert row.differences == pytest.approx(np.array(BETTER) - compared.baseline.typical)
    assert row.against == 8


def test_runs_that_were_added_after_a_look_are_each_arms_own(results: Path) -> None:
    store_arm(results, "none", BASE[:5], **UNNAMED)
    store_arm(results, "arm", BETTER, base="clipvalue", **UNNAMED)
    first = comparison.compare(results)
    assert against(first, "arm").exploratory == []
    ledger.record(results, first.first_compared, [first.look])
    assert against(comparison.compare(results), "arm").exploratory == []
    store_arm(results, "none", BASE[5:], first_seed=5, **UNNAMED)
    assert against(comparison.compare(results), "arm").exploratory == ["seeds 5-7 added after a look"]
