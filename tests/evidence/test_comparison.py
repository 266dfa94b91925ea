"""Comparisons say what the seeds allow, and no more; their figures follow from the files."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from conftest import store_run
from made_up import BASE, BETTER, OF_ONE_RUN, against, store_arm

from gradclip_cli.evidence import comparison, plans, remarks, report
from gradclip_cli.evidence.questions import Question
from gradclip_cli.evidence.verdicts import Verdict

pytestmark = pytest.mark.usefixtures("unrendered")


@pytest.fixture
def eight(results: Path) -> Path:
    store_arm(results, "none", BASE)
    store_arm(results, "better", BETTER, base="clipvalue")
    store_arm(results, "alike", [loss + 0.01 * (-1) ** seed for seed, loss in enumerate(BASE)], base="clipnorm")
    return results


def test_verdicts_and_their_words(eight: Path) -> None:
    compared = comparison.compare(eight)
    better, alike = against(compared, "better"), against(compared, "alike")
    assert better.verdict == "helps"
    assert better.p == pytest.approx(2 / 256)
    assert better.p_adjusted == pytest.approx(4 / 256)  # two arms
    assert better.typical == better.mean == pytest.approx(100 * 0.135 / 3)
    assert "better raised test accuracy by 4.5 points typically, by 4.5 on average, against none at SGD 0.01" in better.sentence
    assert "2.0 to 7.0; median +4.5; better on 8 of 8 seeds; p = 0.016)" in better.sentence
    assert alike.verdict == "no difference shown"
    assert "No difference in test accuracy shown" in alike.sentence
    lower = comparison.compare(eight, question=Question("loss"))
    assert against(lower, "better").verdict == "helps"
    assert "lowered training loss by 0.135 nats" in against(lower, "better").sentence
    hurts = comparison.compare(eight, ["none", "better"], "better")
    assert against(hurts, "none").verdict == "hurts"


def test_nothing_claims_more_than_its_test(eight: Path) -> None:
    for metric in OF_ONE_RUN:
        for margin in (None, 0.0001, 1000.0):
            text = report.to_markdown(comparison.compare(eight, question=Question(metric, margin=margin)))
            assert not re.search(r"no difference(?! in| shown)|prove|no effect|is the same", text, flags=re.IGNORECASE)
            assert "Verdicts speak of these seeds, this model and this test set" in text


def test_equivalence_needs_the_whole_interval(eight: Path) -> None:
    assert against(comparison.compare(eight, question=Question(margin=1.0)), "alike").verdict == "equivalent"
    assert "equivalent within that margin" in against(comparison.compare(eight, question=Question(margin=1.0)), "alike").sentence
    assert against(comparison.compare(eight, question=Question(margin=0.1)), "alike").verdict == "no difference shown"
    wide = against(comparison.compare(eight, question=Question(margin=50.0)), "better")
    assert (wide.verdict, wide.equivalent) == ("helps", True)  # a difference can be real and small


@pytest.mark.parametrize(("seeds", "arm_count", "needed"), [(5, 1, 6), (6, 2, 7), (6, 3, 7), (1, 1, 6), (2, 1, 6)])
def test_too_few_seeds_are_exploratory(seeds: int, arm_count: int, needed: int, results: Path) -> None:
    store_arm(results, "none", BASE[:seeds])
    for arm in range(arm_count):
        store_arm(results, f"arm{arm}", BETTER[:seeds])
    compared = comparison.compare(results)
    for part in compared.others:
        assert part.against is not None
        assert part.against.verdict == "exploratory"
        assert f"{needed} seeds could" in part.against.sentence
    report.write(compared, results / "out")
    json.loads((results / "out" / "comparison.json").read_text(), parse_constant=pytest.fail)


def test_unequal_seeds_are_compared_on_the_shared_ones(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "better", BETTER[2:], first_seed=2)
    store_run(results, "better", 20, [2.0, 1.5, 0.1])
    compared = comparison.compare(results)
    assert against(compared, "better").seeds == [2, 3, 4, 5, 6, 7]
    assert compared.notes == (
        "better and none are compared on the 6 seeds that both have (only none has 0-1; only better has 20).",
    )


def test_no_shared_seed(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "other", BETTER, first_seed=50)
    compared = comparison.compare(results)
    assert compared.others[0].against is None
    assert "shares no seed with none" in compared.notes[0]
    assert report.verdict_rows(compared)[1][-1] == "no shared seed"
    report.write(compared, results)


def test_identical_arms(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "twin", BASE)
    twin = against(comparison.compare(results), "twin")
    assert (twin.mean, twin.low, twin.high, twin.p, twin.tied) == (0, 0, 0, 1, 8)
    assert twin.verdict == "no difference shown"
    assert "-0.0" not in twin.sentence
    assert report.write(comparison.compare(results), results)


@pytest.mark.rendered
def test_all_diverged(results: Path) -> None:
    for seed in range(8):
        for arm in ("none", "also"):
            store_run(results, arm, seed, [2.0], status="diverged")
    compared = comparison.compare(results)
    assert compared.baseline.typical == compared.baseline.mean == pytest.approx(10)  # chance
    assert against(compared, "also").verdict == "no difference shown"
    assert against(compared, "also").divergence_p == 1
    assert report.verdict_rows(compared)[0][-3:] == ["100%", "0%", "baseline"]
    assert comparison.compare(results, question=Question("loss")).baseline.mean == pytest.approx(math.log(10))
    report.write(compared, results)


def test_a_difference_that_is_not_zero_never_reads_as_zero(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "better", [loss - 0.0003 for loss in BASE], base="clipvalue")
    compared = comparison.compare(results)
    better = against(compared, "better")
    assert better.mean == pytest.approx(0.01)
    assert "raised test accuracy by 0.01 points typically, by 0.01 on average" in better.sentence
    assert "difference 0.01 to 0.01" in better.sentence
    assert report.verdict_rows(compared)[1][3:5] == ["+0.01 [0.01, 0.01]", "+0.01"]
    assert "the same on every seed" in str(remarks.planning_sentence(compared))


def test_differences_that_cancel_are_zero(results: Path) -> None:
    store_arm(results, "none", [1.0, 1.0, 1.0])
    store_arm(results, "better", [1.1, 1.2, 0.7], base="clipvalue")
    assert against(comparison.compare(results), "better").mean == 0


def test_small_p_values_are_one_relation(results: Path) -> None:
    store_arm(results, "none", [1.0 + 0.01 * seed for seed in range(12)])
    store_arm(results, "better", [0.9 + 0.001 * seed for seed in range(12)], base="clipvalue")
    assert "12 seeds; p < 0.001)" in against(comparison.compare(results), "better").sentence


def test_where_clipping_never_acted_there_is_nothing_to_test(results: Path) -> None:
    for arm, base in (("none", "none"), ("lenient", "clipvalue")):
        for seed in range(2):
            store_run(results, arm, seed, [2.0, 1.5, 1.0 + seed], base=base, clipped_fraction=0.0)
    compared = comparison.compare(results)
    lenient = against(compared, "lenient")
    assert lenient.verdict == "not testable"
    assert lenient.sentence.startswith("Clipping never acted in these runs, so lenient trained as none did")
    assert "could" not in lenient.sentence
    assert report.verdict_rows(compared)[1][-1] == "not testable"
    assert remarks.planning_sentence(compared) is None
    store_arm(results, "acting", [1.0, 2.0], base="clipvalue")  # its differences are zero, but it clipped
    assert against(comparison.compare(results), "acting").verdict == "exploratory"


def test_runs_of_other_data_by_accident_are_no_evidence(results: Path) -> None:
    """As where a data function is not seeded and each worker made its own."""
    store_arm(results, "none", BASE)
    store_arm(results, "better", [loss - 0.3 for loss in BASE], base="clipvalue", dataset_sha256="y")
    store_arm(
        results, "meant", [loss - 0.3 for loss in BASE], base="clipvalue", settings=["data.subset=sample"], dataset_sha256="z"
    )
    compared = comparison.compare(results)
    better, meant = against(compared, "better"), against(compared, "meant")
    assert (better.verdict, meant.verdict) == ("not testable", "helps")
    assert "were trained on 2 datasets (their SHA-256 differs), though their configs name one" in better.sentence
    assert "They differ in more than clipping: data.subset." in meant.sentence


def test_a_verdict_on_another_model_says_so(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "worse", [loss + 0.3 for loss in BASE], base="clipvalue", settings=["model.units=12"])
    store_arm(results, "other", [loss + 0.3 for loss in BASE], settings=["model.units=12", "optimizer.learning_rate=0.5"])
    compared = comparison.compare(results)
    worse, other = against(compared, "worse"), against(compared, "other")
    assert (worse.verdict, worse.differs_in) == ("hurts", ["model.units"])
    assert worse.sentence.endswith("They differ in more than clipping: model.units.")
    assert other.sentence.endswith("They differ in model.units, optimizer.learning_rate, not in clipping.")
    cells = {row[0]: row[-1] for row in report.verdict_rows(compared)}
    assert cells == {"none": "baseline", "worse": "hurts (other model.units)", "other": "hurts (other model.units and 1 more)"}


def test_one_arm_alone(results: Path) -> None:
    store_arm(results, "none", BASE)
    compared = comparison.compare(results)
    assert not compared.others
    assert remarks.planning_sentence(compared) is None
    report.write(compared, results)


def test_planning_uses_the_spread_seen(eight: Path) -> None:
    compared = comparison.compare(eight, ["none", "better"], question=Question(effect=2.0))
    plan = against(compared, "better")
    differences = np.array(plan.differences)
    simulated = np.random.default_rng(0).normal(plan.detectable_effect, differences.std(ddof=1), (20_000, 8))
    found = scipy.stats.wilcoxon(simulated, axis=1, method="exact").pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.06)  # at eight seeds the exact test is at 3.9%, not at 5%
    assert plan.seeds_needed is not None
    said = str(remarks.planning_sentence(compared))
    assert f"one of 2 points takes about {plan.seeds_needed.seeds} seeds (7 to {plan.seeds_needed.high}, since" not in said
    assert f"takes about {plan.seeds_needed.seeds} seeds ({plan.seeds_needed.low} to {plan.seeds_needed.high}" in said


def test_seeds_added_after_a_comparison_are_told(results: Path) -> None:
    for arm in ("none", "better"):
        store_arm(results, arm, BASE[:6])
    report.write(comparison.compare(results), results)
    assert not comparison.compare(results).notes
    for arm in ("none", "better"):
        store_arm(results, arm, BASE[6:], first_seed=6)
    notes = comparison.compare(results).notes
    assert len(notes) == 2
    assert "seeds 6-7 were added after a comparison" in notes[0]
    report.write(comparison.compare(results), results)
    assert comparison.compare(results).notes == notes  # not forgotten by looking again
    (results / "experiment.json").write_text(json.dumps({"schema": 1, "seeds": list(range(8))}))
    assert not comparison.compare(results).notes  # they were planned


@pytest.mark.parametrize("metric", OF_ONE_RUN)
def test_figures_can_be_recomputed_from_the_files(metric: str, eight: Path, tmp_path: Path) -> None:
    """By a few lines of pandas and SciPy, from metrics.csv and run.json alone."""
    store_run(eight, "better", 3, [1.9], status="diverged", base="clipvalue")
    report.write(comparison.compare(eight, question=Question(metric)), tmp_path)
    content = json.loads((tmp_path / "comparison.json").read_text())

    def score(folder: Path) -> float:
        frame = pd.read_csv(folder / "metrics.csv").set_index("epoch").reindex([1, 2, 3])
        diverged = json.loads((folder / "run.json").read_text())["status"] == "diverged"
        if metric == "diverged_runs":
            return 100.0 * diverged
        if metric.endswith("accuracy"):
            return 100 * (0.1 if diverged else frame[metric].iloc[-1])
        column = "val_loss" if metric == "val_loss" else "loss"
        loss = frame[column].clip(upper=np.log(10)).fillna(np.log(10))
        if diverged:
            loss[:] = np.log(10)
        if metric == "loss_area":
            return float(loss.sum())
        if metric == "steps_to_target":
            reached = not diverged and loss.min() <= content["target_loss"]
            return float(4 * np.interp(-content["target_loss"], -loss, loss.index)) if reached else 12.0
        return float(loss.iloc[-1])

    folders = {arm["arm"]: [eight / arm["arm"] / f"seed-{seed}" for seed in range(8)] for arm in content["arms"]}
    table = pd.DataFrame({arm: [score(folder) for folder in runs] for arm, runs in folders.items()})
    p_values = {}
    for arm in content["arms"]:
        scores = table[arm["arm"]]
        assert arm["scores"] == pytest.approx(scores.tolist())
        assert arm["mean"] == pytest.approx(scores.mean())
        assert (arm["typical"], arm["low"], arm["high"]) == pytest.approx(recomputed(scores)[:3])
        statuses = [json.loads((folder / "run.json").read_text())["status"] for folder in folders[arm["arm"]]]
        assert arm["diverged_share"] == statuses.count("diverged") / 8
        pair = arm["against_baseline"]
        if pair:
            differences = scores - table["none"]
            assert (pair["mean"], pair["median"]) == pytest.approx((differences.mean(), differences.median()))
            p_values[arm["arm"]] = (recomputed(differences)[3], pair)
    (smaller, first), (larger, second) = sorted(p_values.values(), key=lambda found: found[0])
    assert first["p_adjusted"] == pytest.approx(min(1, 2 * smaller))
    assert second["p_adjusted"] == pytest.approx(max(first["p_adjusted"], larger))
    for pair, level in ((first, 0.025), (second, 0.05 if 2 * smaller < 0.05 else 0.025)):
        expected = recomputed(pd.Series(pair["differences"]), level)
        assert (pair["typical"], pair["low"], pair["high"], pair["p"]) == pytest.approx(expected)
        assert pair["level"] == pytest.approx(level)


def recomputed(values: pd.Series, level: float = 0.05) -> tuple[float, float, float, float]:
    """Pseudomedian, interval and p of eight values, from all 256 signs of their ranks."""
    array = values.to_numpy().round(9)
    averages = np.sort([(array[one] + array[other]) / 2 for one in range(8) for other in range(one + 1)]).round(9)
    sums = np.array([sum(rank + 1 for rank in range(8) if mask >> rank & 1) for mask in range(256)])
    outside = max(count for count in range(37) if count == 0 or (sums <= count - 1).mean() <= level / 2)
    one_side = max((averages > 0).sum(), (averages < 0).sum())
    p = min(1, 2 * (sums <= 36 - one_side).mean())
    if not len(np.unique(np.abs(array))) < 8 and array.all():
        assert p == pytest.approx(scipy.stats.wilcoxon(array, method="exact").pvalue)
    return float(np.median(averages)), float(averages[outside - 1]), float(averages[-outside]), p


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's account of memory")
def test_ninety_runs_without_a_framework_in_bounded_memory(results: Path) -> None:
    """Its time stands in results/LOG.md; what is asserted is its memory."""
    for arm in ("none", "a", "b"):
        for seed in range(30):
            store_run(results, arm, seed, [2.0 - 0.1 * epoch for epoch in range(10)], epochs=10)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from gradclip_cli.evidence import comparison, report\n"
        f"report.write(comparison.compare(Path({str(results)!r})), Path({str(results)!r}))\n"
        "assert not {'tensorflow', 'keras', 'torch'} & set(sys.modules)\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(status.split('VmHWM:')[1].split()[0])\n"  # getrusage would count the parent's peak too
    )
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(ended.stdout) < 500_000


def test_every_key_of_the_json_is_documented(eight: Path) -> None:
    documented = (Path(__file__).parents[2] / "docs" / "comparison.md").read_text()

    def keys(value: object) -> set[str]:
        if isinstance(value, dict):
            inner = set().union(*(keys(child) for key, child in value.items() if key not in ("config", "first_compared")), set())
            return {str(key) for key in value} | inner
        if isinstance(value, list):
            return set().union(*(keys(child) for child in value), set())
        return set()

    content = json.loads(report.to_json(comparison.compare(eight)))
    missing = {key for key in keys(content) if f"`{key}`" not in documented}
    assert not missing
    assert f"`schema` | {plans.COMPARISON_SCHEMA}" in documented
    for verdict in Verdict:
        assert f"`{verdict}`" in documented
