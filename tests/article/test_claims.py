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

import pytest
import scipy.stats
from conftest import store_run
from reproduced import SEEDS, store_all, store_arm

from gradclip_cli.article import claims
from gradclip_cli.article.answers import PRIMARY
from gradclip_cli.article.claim import Claim
from gradclip_cli.article.claims import CLAIMS
from gradclip_cli.article.claims.bounded_gradients import rounding_bound
from gradclip_cli.article.claims.remedies import REMEDIES
from gradclip_cli.article.reproduce import answer_claims
from gradclip_cli.config import loading
from gradclip_cli.evidence import stats

CHECKOUT = Path(__file__).parents[2]


def verdicts(results: Path) -> dict[str, str]:
    return {name: answer.verdict for name, answer in answer_claims(SEEDS, results).answers.items()}


@pytest.mark.parametrize(
    ("arm", "change", "claim", "verdict"),
    [
        ("clipvalue", {"loss": 1.2}, "C2", "contradicted"),
        ("clipvalue", {"loss": 1.2}, "C3", "contradicted"),
        ("clipvalue", {"loss": 1.0}, "C2", "not shown"),
        ("clipnorm", {"largest_applied": 1.001}, "C1", "contradicted"),
        ("clipnorm", {"largest_applied": None}, "C1", "not shown"),
        ("adam_clipvalue", {"largest_applied": 1.00001}, "C1", "contradicted"),
        ("explode_none", {"status": "complete"}, "C4", "contradicted"),
        ("explode_clipnorm", {"status": "diverged"}, "C5", "contradicted"),
        ("explode_clipnorm", {"loss": 1.5}, "C5", "contradicted"),  # learnt something, but not enough
        ("explode_l2", {"status": "diverged"}, "C6", "supported in part"),
        ("explode_mse", {"loss": 2.2}, "C6", "supported in part"),  # complete, but nothing learnt
        ("wide_output", {"loss": 1.2}, "C7", "contradicted"),
        ("wide_output", {"loss": 0.5}, "C7", "supported"),
        ("warnings", {"first_spike": None}, "C8", "contradicted"),
        ("warnings", {"first_spike": {"step": 4}}, "C8", "contradicted"),  # with the end is too late
        ("adam_none", {"health": {"first_spike": {"step": 1}, "first_explosion": None}}, "C8", "not shown"),  # a false alarm
        ("adam_none", {"loss": 1.0}, "C8", "not shown"),  # no run that ended well
        ("none", {"health": None}, "C8", "supported"),
    ],
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
    assert answer.verdict == "contradicted"
    assert answer.figures["explode-l2"]["count"] == 0
    assert answer.figures["explode-l2"]["p_adjusted"] == pytest.approx(5 * scipy.stats.binomtest(0, 9).pvalue)
    few = answer_claims(SEEDS[:5], results)
    assert few.answers["C6"].verdict == "not shown"  # five seeds can't decide


def test_warnings_are_counted_over_unclipped_runs(results: Path) -> None:
    store_all(results, clipvalue={"loss": 0.3, "health": {"first_spike": {"step": 1}, "first_explosion": None}})
    answer = answer_claims(SEEDS, results).answers["C8"]
    bad, well = answer.figures["first_spike, ended badly"], answer.figures["first_spike, ended well"]
    assert (bad["count"], bad["runs"]) == (27, 27)  # explode-none and two counterparts, nine seeds each
    assert (well["count"], well["runs"]) == (0, 9)  # adam-none; what a clipped run was warned of is no false alarm
    assert answer.figures["leads"]["first_spike"] == [2] * 27


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
    assert (figures["C4"]["low"], figures["C4"]["high"]) == pytest.approx(stats.share_interval(9, 9))


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
    assert "## C9: Clipping by the global norm lowers the test loss. **Supported**" in page
    assert page.count("**supported**") == 9
