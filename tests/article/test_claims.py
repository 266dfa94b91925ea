"""The claims: the rules decide them, and one more takes one more file."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from conftest import store_run
from reproduced import SEEDS, store_all, store_arm

from gradclip_cli.article import claims
from gradclip_cli.article.answers import PRIMARY
from gradclip_cli.article.claim import Claim
from gradclip_cli.article.claims import CLAIMS, convergence
from gradclip_cli.article.claims.bounded_gradients import rounding_bound
from gradclip_cli.article.claims.remedies import REMEDIES
from gradclip_cli.article.measures import Difference, DifferenceTest
from gradclip_cli.article.reproduce import answer_claims, config_name
from gradclip_cli.config import loading
from gradclip_cli.evidence import stats
from gradclip_cli.evidence.arms import read_arms
from gradclip_cli.evidence.verdicts import Judgement

CHECKOUT = Path(__file__).parents[2]
SPIKE = {"first_spike": {"step": 1}, "first_explosion": None}


def verdicts(results: Path) -> dict[str, str]:
    return {name: answer.verdict for name, answer in answer_claims(SEEDS, results).answers.items()}


DECIDED: list[tuple[str, dict[str, Any], str, str]] = [
    ("clipvalue", {"loss": 1.2}, "C2", "contradicted at SGD 0.01"),
    ("clipvalue", {"loss": 1.0}, "C2", "not shown"),
    ("clipvalue", {"clipped_fraction": 0.0}, "C2", "not testable here"),
    ("clipnorm", {"largest_applied": 1.001}, "C1", "contradicted"),
    ("clipnorm", {"largest_applied": None}, "C1", "not shown"),
    ("explode_none", {"status": "complete"}, "C4", "contradicted in a setting chosen to diverge"),
    ("explode_clipnorm", {"status": "diverged"}, "C5", "contradicted in the setting of C4"),
    ("explode_clipnorm", {"clipped_fraction": 0.0}, "C5", "not testable here"),
    ("explode_l2", {"status": "diverged"}, "C6", "escapes: supported in part; learns within 12 steps: supported in part"),
    ("explode_l2", {"loss": 1.0}, "C6", "escapes: supported; learns within 12 steps: supported in part"),
    ("wide_output", {"loss": 1.2}, "C7", "contradicted"),
    ("wide_output", {"loss": 0.5}, "C7", "supported"),
    ("wide_output", {"clipped_steps": None}, "C7", "not shown"),
    ("warnings", {"first_spike": None}, "C8", "contradicted for this detector"),
    ("adam_none", {"health": SPIKE}, "C8", "supported for this detector"),  # a false alarm in one of eight
]
DECIDED_ALIKE: list[tuple[str, dict[str, Any], str, str]] = [
    ("clipvalue", {"loss": 1.2}, "C3", "contradicted at SGD 0.01"),
    ("clipvalue", {"loss": 1.0, "clipped_fraction": 0.0005}, "C3", "not testable here"),
    ("adam_clipvalue", {"largest_applied": 1.00001}, "C1", "contradicted"),
    ("explode_clipnorm", {"loss": 1.5}, "C5", "contradicted in the setting of C4"),  # learnt something, but not enough
    # Complete, nothing learnt.
    ("explode_mse", {"loss": 2.2}, "C6", "escapes: supported in part; learns within 12 steps: supported in part"),
    ("warnings", {"first_spike": {"step": 4}}, "C8", "contradicted for this detector"),  # with the end is too late
    ("none", {"health": None}, "C8", "supported for this detector"),
]


@pytest.mark.parametrize(
    ("arm", "change", "claim", "verdict"),
    [*DECIDED, *(pytest.param(*case, marks=pytest.mark.slow) for case in DECIDED_ALIKE)],
)
def test_rules_decide(arm: str, change: dict[str, Any], claim: str, verdict: str, results: Path) -> None:
    store_all(results, **{arm: change})
    assert verdicts(results)[claim] == verdict


def test_runs_that_diverged_before_their_first_epoch_count(results: Path) -> None:
    store_all(results)
    for seed in SEEDS:
        store_run(
            results, "explode-none", seed, [], status="diverged", base="explode/none", diverged={"step": 1 + seed, "told": "x"}
        )
    answer = answer_claims(SEEDS, results).answers["C4"]
    assert answer.figures["count"] == answer.figures["runs"] == len(SEEDS)


def test_no_remedy_works_or_none_is_decided(results: Path) -> None:
    store_all(results, **{arm.replace("-", "_"): {"status": "diverged"} for arm in REMEDIES})
    answer = answer_claims(SEEDS, results).answers["C6"]
    assert answer.verdict == "escapes: contradicted; learns within 12 steps: contradicted"
    assert answer.figures["explode-l2"]["escapes"]["count"] == 0
    assert answer.figures["explode-l2"]["learns"]["p_adjusted"] == pytest.approx(10 * scipy.stats.binomtest(0, 9).pvalue)
    few = answer_claims(SEEDS[:5], results)
    assert few.answers["C6"].verdict == "escapes: not shown; learns within 12 steps: not shown"  # five seeds can't decide


def test_one_remedy_that_fails_does_not_contradict(results: Path) -> None:
    """The others learn on some seeds, which decides nothing."""
    store_all(results, explode_mse={"status": "diverged"})
    for arm in set(REMEDIES) - {"explode-mse"}:
        for seed in SEEDS[:5]:
            store_run(results, arm, seed, [2.0], status="diverged", base=config_name(arm), health=SPIKE)
    answer = answer_claims(SEEDS, results).answers["C6"]
    assert answer.figures["explode-mse"]["learns"]["high"] < 0.5
    assert answer.verdict == "escapes: not shown; learns within 12 steps: not shown"


def test_a_remedy_is_supported_in_part_only_where_another_fails(results: Path) -> None:
    """One escapes on six of nine seeds, which decides nothing, the others on all."""
    store_all(results)
    for seed in SEEDS[:3]:
        store_run(results, "explode-l2", seed, [2.0], status="diverged", base="explode/l2", health=SPIKE)
    assert verdicts(results)["C6"] == "escapes: not shown; learns within 12 steps: not shown"


def test_warnings_are_counted_over_unclipped_runs_and_judged_over_seeds(results: Path) -> None:
    store_all(results, clipvalue={"loss": 0.3, "health": SPIKE}, none={"health": SPIKE})
    answer = answer_claims(SEEDS, results).answers["C8"]
    bad, others = answer.figures["first_spike, ended badly"], answer.figures["first_spike, ended otherwise"]
    assert (bad["count"], bad["runs"]) == (27, 27)  # explode-none and two counterparts, nine seeds each
    assert (others["count"], others["runs"]) == (9, 72)  # none of eight; what a clipped run was warned of is no false alarm
    assert (bad["seeds"]["count"], bad["seeds"]["runs"], others["seeds"]["count"]) == (9, 9, 0)
    interval = scipy.stats.binomtest(9, 9).proportion_ci(0.975)
    assert (bad["seeds"]["low"], bad["seeds"]["high"]) == pytest.approx((interval.low, interval.high))
    assert bad["leads"] == [2] * 27
    assert "SimpleRNN: 27 of 27 that ended badly" in answer.beside[0]
    assert "All that ended badly are of SimpleRNN" in answer.beside[0]


def test_false_alarms_in_most_runs_contradict(results: Path) -> None:
    """Those that ended between nothing learnt and learnt are counted too."""
    alarmed = ["none", "control", *[arm.replace("-", "_") for arm in REMEDIES]]
    store_all(results, **{arm: {"loss": 1.0, "health": SPIKE} for arm in alarmed})
    answer = answer_claims(SEEDS, results).answers["C8"]
    assert answer.verdict == "contradicted for this detector"
    assert "63 of 72" in answer.measured
    assert "0 of 9 that ended well (test accuracy of at least 0.6) and 63 of 63 that ended in between" in answer.measured


@pytest.mark.parametrize(
    ("steps", "verdict", "told"),
    [
        ({"lstm/kernel": 6, "dense/kernel": 0}, "not testable here", "on 0 of 108 steps did it clip otherwise than clipnorm"),
        (None, "not shown", "trained before run.json kept on how many steps each variable was clipped"),
    ],
)
def test_a_wider_threshold_that_never_acted_is_not_testable(
    steps: dict[str, int] | None, verdict: str, told: str, results: Path
) -> None:
    store_all(results, clipnorm={"clipped_steps": steps}, wide_output={"clipped_steps": steps})
    answer = answer_claims(SEEDS, results).answers["C7"]
    assert answer.verdict == verdict
    assert told in answer.measured


def test_where_the_wider_threshold_never_acted_what_differs_is_rounding(results: Path) -> None:
    store_all(results, clipnorm={"clipped_steps": {"dense/kernel": 0}}, wide_output={"clipped_steps": {"dense/kernel": 0}})
    for seed in SEEDS:
        loss = 0.95 + 0.01 * np.sin(seed + len("clipnorm")) + (0.004 if seed == 3 else 1e-6 * (-1) ** seed)
        changes = {"base": config_name("wide-output"), "largest_applied": 1.0, "clipped_steps": {"dense/kernel": 0}}
        store_run(results, "wide-output", seed, [2.0, 1.425, loss], **changes)
    told = answer_claims(SEEDS, results).answers["C7"].measured
    assert "Training loss differs by less than 0.001 nats typically, less than 0.001 nats on average" in told
    assert told.endswith("Yet it differs on 9 seeds, by up to 0.004 nats: what differs is rounding.")


def test_clipped_runs_are_held_against_their_unclipped_twins(results: Path) -> None:
    store_all(results)
    (contrast,) = [told for told in answer_claims(SEEDS, results).answers["C5"].beside if "McNemar" in told]
    p = scipy.stats.binomtest(9, 9).pvalue
    assert contrast.startswith("Paired by seed: 9 runs of explode-clipnorm learnt against 0 of explode-none, of 9 each")
    assert f"p = {p:.2g}" in contrast


def test_explosions_are_told_by_arm_with_what_was_built_for_them(results: Path) -> None:
    store_all(results, warnings={"first_explosion": {"step": 3}})
    told = answer_claims(SEEDS, results).answers["C4"].beside[-1]
    assert told.startswith("Of 99 unclipped runs of 11 arms, 27 had a gradient norm above 1,000 times")
    assert "all of this setting and its variants (explode-none 9 of 9, explode-unscaled-inputs 9 of 9, explode-large-t" in told
    assert (
        "explode-unscaled-inputs and explode-large-targets were built to blow up); 27 of them diverged or learnt nothing" in told
    )
    assert "In 27 of 27 this came within 3 steps of the end: explosion and end are nearly one event." in told
    assert told.endswith("Of the 72 without one 0 ended so.")


def test_explosions_of_other_settings_and_long_before_the_end_are_no_variants_and_another_event(results: Path) -> None:
    store_all(
        results, none={"health": {**SPIKE, "first_explosion": {"step": 2}}}, explode_none={"loss": 1.0, "status": "complete"}
    )
    told = answer_claims(SEEDS, results).answers["C4"].beside[-1]
    assert "not of this setting's variants alone (none 9 of 9)" in told
    assert "one event" not in told
    assert told.endswith("Of the 90 without one 18 ended so (explode-unscaled-inputs 9, explode-large-targets 9).")


def test_conditions_and_both_figures_stand_in_what_was_measured(results: Path) -> None:
    store_all(results)
    answers = answer_claims(SEEDS, results).answers
    lowered = "clipvalue lowered training loss by 0.099 nats typically, by 0.099 on average, against none at SGD 0.01"
    assert answers["C2"].measured.startswith(f"LSTM(10), 12 steps: {lowered} (")
    assert "SimpleRNN(32, relu), 12 steps at SGD 0.1: 9 of 9 runs of explode-none" in answers["C4"].measured
    assert "SimpleRNN(32, relu), 12 steps at SGD 0.1 but for the remedy" in answers["C6"].measured
    assert "Clipping acted on 25.0% of the steps." in answers["C3"].beside


def test_an_area_is_told_to_come_from_early_or_late_epochs(results: Path) -> None:
    store_all(results)
    told = answer_claims(SEEDS, results).answers["C3"].beside[0]
    assert (
        "epochs 1, 2 and 3 give 0%, 60% and 40%. The first 2 epochs alone give" in told
    )  # 1.5 and 1.0 times a difference of 0.1


USUAL, EARLY, LATE, MUCH = [2.0, 1.5, 1.0], [1.6, 1.4, 1.0], [2.0, 1.5, 0.97], [2.0, 1.3, 0.7]
COLLAPSED = [2.0, 1.5, 2.0]
"""Losses of three epochs; test accuracy is 0.9 - loss / 3."""


@pytest.mark.parametrize(
    ("unclipped", "clipped", "meaning"),
    [
        ([USUAL] * 9, [EARLY] * 9, "a faster start"),
        ([USUAL] * 9, [LATE] * 9, "a small gain that grows with training, not a faster start"),
        ([USUAL] * 9, [MUCH] * 9, "a gain that grows with training, not a faster start"),
        ([USUAL] * 7 + [COLLAPSED] * 2, [LATE] * 9, "a small gain that grows with training, not a faster start"),
        ([USUAL] * 6 + [COLLAPSED] * 3, [EARLY] * 9, ""),  # with them neither, without them early
        ([USUAL] * 2 + [COLLAPSED] * 7, [USUAL] * 9, "not shown without the seeds whose unclipped run collapsed"),
        ([LATE] * 9, [USUAL] * 9, ""),
    ],
)
def test_what_a_smaller_area_means_holds_with_and_without_collapsed_seeds(
    unclipped: list[list[float]], clipped: list[list[float]], meaning: str, results: Path
) -> None:
    for seed, both in enumerate(zip(unclipped, clipped, strict=True)):
        for arm, losses in zip(("none", "clipvalue"), both, strict=True):
            store_run(results, arm, seed, losses, base=arm)
    none, clipvalue = read_arms(results, ["none", "clipvalue"])[0]
    assert convergence.meaning(Difference.of(clipvalue, none, "loss_area")) == meaning


def test_what_collapsed_seeds_give_of_an_area_is_told_and_what_is_left_without_them(results: Path) -> None:
    for seed in SEEDS:
        store_run(results, "none", seed, COLLAPSED if seed > 6 else USUAL)
        store_run(results, "clipvalue", seed, LATE, base="clipvalue")
    none, clipvalue = read_arms(results, ["none", "clipvalue"])[0]
    (told,) = convergence.where_it_comes_from(Difference.of(clipvalue, none, "loss_area"))
    assert "epochs 1, 2 and 3 give 0%, 0% and 100% (0%, 0% and 100% without collapsed seeds)" in told
    assert "2 seeds whose run of none collapsed give 91% of the average; without them the area differs by" in told  # 2.06 of 2.27
    assert told.endswith("better on 7 of 7 seeds.")


def test_intervals_of_the_family_agree_with_its_verdicts(results: Path) -> None:
    """With a difference that a test alone would show and the family doesn't."""
    store_all(results, clipvalue={"loss": 1.0})
    shifts = [0.55, *(-0.1 * rank for rank in range(2, 10))]
    for seed, shift in zip(SEEDS, shifts, strict=True):
        store_run(results, "none", seed, [2.0, 1.5, 1.5], health={"first_spike": None, "first_explosion": None})
        store_run(results, "clipvalue", seed, [2.0, 1.5, 1.5 + shift], base="clipvalue", largest_applied=1.0)
    answer = answer_claims(SEEDS, results).answers["C2"]
    assert answer.figures["p"] == pytest.approx(scipy.stats.wilcoxon(shifts).pvalue) == pytest.approx(20 / 512)
    assert answer.figures["p_adjusted"] == pytest.approx(40 / 512)  # C3's is the same, those of C4 and C5 are smaller
    assert answer.verdict == "not shown"
    assert answer.figures["low"] < 0 < answer.figures["high"]


def test_unseen_seeds_stand_beside(results: Path) -> None:
    store_all(results)
    seeds = list(range(3, 20))
    for arm, loss in (("none", 1.0), ("clipvalue", 0.9)):
        for seed in seeds:
            store_run(results, arm, seed, [2.0, 1.5, loss + 0.01 * np.sin(seed + len(arm))], base=arm)
    arms = {arm.name: arm.only(seeds) for arm in read_arms(results, ["none", "clipvalue"])[0]}
    answer = DifferenceTest(Difference.of(arms["clipvalue"], arms["none"], "loss")).answer(Judgement(0.01, 0.05, 1))
    assert answer.figures["on_unseen_seeds"]["seeds"] == seeds[5:]
    assert "On the 12 seeds alone that were not part of the first look (8-19): " in " ".join(answer.beside)


def test_runs_from_before_warnings_were_recorded_decide_nothing(results: Path) -> None:
    store_all(results)
    run = next((results / "none").glob("seed-*/run.json"))
    content = json.loads(run.read_text())
    del content["health"]
    run.write_text(json.dumps(content))
    assert verdicts(results)["C8"] == "not shown"


def test_primary_tests_are_one_family(results: Path) -> None:
    store_all(results)
    content = json.loads(answer_claims(SEEDS, results).to_json())
    figures = {claim["id"]: claim["figures"] for claim in content["claims"]}
    family = [figures[claim]["p"] for claim in content["primary_tests"]]
    assert [figures[claim]["p_adjusted"] for claim in content["primary_tests"]] == pytest.approx(stats.holm(family))
    assert figures["C4"]["p"] == pytest.approx(scipy.stats.binomtest(9, 9).pvalue)
    assert (figures["C4"]["low"], figures["C4"]["high"]) == pytest.approx(stats.share_interval(9, 9, figures["C4"]["level"]))


def test_rounding_bound_counts_what_the_norm_sums() -> None:
    one = 2.0**-24
    assert rounding_bound(loading.load("clipvalue")) == one
    assert rounding_bound(loading.load("clipnorm")) == 1120 * one  # 28 x 40, the LSTM's kernel
    assert rounding_bound(loading.load("global_clipnorm")) == (1120 + 400 + 40 + 100 + 10) * one


# The folder of claims.


def test_a_file_is_a_claim() -> None:
    files = [module.name for module in pkgutil.iter_modules(claims.__path__)]
    assert sorted(type(claim).__module__ for claim in CLAIMS.values()) == [f"{claims.__name__}.{name}" for name in files]
    assert list(CLAIMS) == [f"C{number}" for number in range(1, len(files) + 1)]
    assert list(PRIMARY) == ["C2", "C3", "C4", "C5"]  # one more would weaken what these four can show


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_claim_says_what_it_is(claim: Claim) -> None:
    assert claim.statement.endswith(".")
    assert claim.rule.startswith("Primary test: ") == (claim.id in PRIMARY)
    assert claim.written.endswith(".")


# One more.


@pytest.fixture(scope="module")
def with_one_more(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the file that docs/extending.md writes for a claim, and no other change."""
    checkout = tmp_path_factory.mktemp("checkout")
    shutil.copytree(CHECKOUT / "gradclip_cli", checkout / "gradclip_cli", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(CHECKOUT / "configs", checkout / "configs")
    section = (CHECKOUT / "docs" / "extending.md").read_text().partition("## A claim\n")[2].partition("\n## ")[0]
    ((path, text),) = re.findall(r"^ *`(\S+)`:\n\n *```python\n(.*?)^ *```$", section, flags=re.MULTILINE | re.DOTALL)
    (checkout / path).write_text(textwrap.dedent(text))
    return checkout


def told(checkout: Path, *arguments: str) -> str:
    """What Python prints in a checkout, its output and its errors."""
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stdout + ended.stderr


def test_one_more_brings_its_arm_into_the_plan(with_one_more: Path, tmp_path: Path) -> None:
    command = ("-m", "gradclip_cli", "reproduce", "--seeds", "9", "--dry-run", "--results", str(tmp_path / "none yet"))
    planned = " ".join(told(with_one_more, *command).split())
    assert "162 of 162 runs to train" in planned
    assert "global_clipnorm" in planned
    assert "A verdict on the 5 primary tests takes at least 8 seeds; there are 9." in planned


ANSWERED = """\
import sys
from pathlib import Path
from gradclip_cli.article.report import to_markdown
from gradclip_cli.article.reproduce import answer_claims, held_against

results, other = map(Path, sys.argv[1:])
reproduction = held_against(answer_claims(range(9), results), other)
print(reproduction.to_json() + "---" + to_markdown(reproduction))
"""


def test_one_more_is_answered_like_the_others(with_one_more: Path, results: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for folder, settings in ((results, []), (other, ["engine.framework=pytorch"])):
        store_all(folder, settings)
        store_arm(folder, "global_clipnorm", {"loss": 0.8, "status": "complete", "largest_applied": 1.0, "settings": settings})
    content, page = told(with_one_more, "-c", ANSWERED, str(results), str(other)).split("---", 1)
    found = json.loads(content)
    assert [claim["id"] for claim in found["claims"]] == [*CLAIMS, "C9"]
    assert found["primary_tests"] == [*PRIMARY, "C9"]
    figures = {claim["id"]: claim["figures"] for claim in found["claims"]}
    family = [figures[claim]["p"] for claim in found["primary_tests"]]
    assert [figures[claim]["p_adjusted"] for claim in found["primary_tests"]] == pytest.approx(stats.holm(family))
    assert found["agreement"]["told"].endswith("they are not shown to differ on any claim.")
    assert set(found["agreement"]["verdicts"]) == {*CLAIMS, "C9"}
    assert "C2 to C5 and C9 are the primary tests" in page
    assert "## C9: Clipping by the global norm lowers the test loss. **Supported at SGD 0.01**" in page
    assert page.count("**supported at SGD 0.01**") == 3
