"""Two reproductions held together: claims agree by what was measured on each seed, not by how their verdicts are worded."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import store_run
from reproduced import SEEDS, save_only, store_all

from gradclip_cli.article.agreement import Agreement, HeldEffect, Outcome
from gradclip_cli.article.claims import CLAIMS
from gradclip_cli.article.effects import Amount, Event
from gradclip_cli.article.report import write_reproduction
from gradclip_cli.article.reproduce import answer_claims, held_against
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence.metrics import NATS, POINTS
from gradclip_cli.evidence.samples import Sample
from gradclip_cli.texts import MINUS


def agreement(ours: Path, theirs: Path) -> Agreement:
    found = held_against(answer_claims(SEEDS, ours), theirs).agreement
    assert found
    return found


def test_two_frameworks_are_held_together(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_only(monkeypatch, ".png", "frameworks")
    other = tmp_path / "other"
    store_all(results)
    store_all(other, clipvalue={"loss": 1.3}, settings=["engine.framework=pytorch"])
    both = held_against(answer_claims(SEEDS, other), results)
    assert both.agreement
    assert both.agreement.frameworks == ("pytorch", "tensorflow")
    assert both.agreement.differing == ["C2", "C3"]
    assert {each.arm: each.against.mean for each in both.agreement.twins} == {
        "none": 0, "clipnorm": 0, "control": 0, "clipvalue": pytest.approx(-100 * 0.4 / 3)
    }  # fmt: skip
    told = both.agreement.sentence
    assert "PyTorch and TensorFlow (Keras) agree on C4 (on each of 9 seeds), C5 (on each of 9 seeds), C6 (on each of 9" in told
    assert (
        f"they differ on C2 (clipvalue minus none, training loss: +0.301 and {MINUS}0.099) and C3 (clipvalue minus none, area"
        in told
    )
    write_reproduction(both, other)
    page = (other / "report.md").read_text()
    assert f"**{told}**" in page
    assert (
        f"| C2 | clipvalue minus none, training loss | +0.301 | {MINUS}0.099 | +0.400 [0.400, 0.400] nats | 0.0039 | 0.02 |"
        in page
    )
    stored = json.loads((other / "claims.json").read_text(), parse_constant=pytest.fail)["agreement"]
    assert (stored["differing"], stored["told"]) == (["C2", "C3"], told)
    assert {each["claim"] for each in stored["effects"]} == {"C2", "C3", "C4", "C5", "C6", "C7", "C8"}
    assert (other / "frameworks.png").stat().st_size > 10_000


def test_what_is_the_same_agrees_on_all_that_is_measured(results: Path, tmp_path: Path) -> None:
    store_all(results)
    store_all(tmp_path / "other", settings=["engine.framework=pytorch"])
    alike = agreement(results, tmp_path / "other")
    assert set(alike.outcomes.values()) == {Outcome.AGREE}
    assert alike.differing == []
    assert "are not shown to differ on any claim" in alike.sentence
    assert "decide" not in alike.sentence


def test_verdicts_that_are_worded_otherwise_are_no_difference(results: Path, tmp_path: Path) -> None:
    """Seven and nine of nine runs that ended badly: one share is above one half, the other isn't shown to be."""
    other = tmp_path / "other"
    store_all(results)
    store_all(other, settings=["engine.framework=pytorch"])
    for seed in (0, 1):
        shutil.rmtree(other / "explode-none" / f"seed-{seed}")
        settings, health = ["engine.framework=pytorch"], {"first_spike": None, "first_explosion": None}
        store_run(other, "explode-none", seed, [2.0, 1.5, 1.0], base="explode/none", settings=settings, health=health)
    found = agreement(other, results)
    assert found.verdicts["C4"][0] != found.verdicts["C4"][1]
    assert (found.outcomes["C4"], found.differing) == (Outcome.UNDECIDED, [])
    (held,) = [each for each in found.effects if each.claim == "C4"]
    assert held.contrast.p == pytest.approx(0.5)
    assert held.row(found.titles)[2:5] == ["7 of 9", "9 of 9", "2 seeds of 9"]
    assert "these seeds don't decide on C4" in found.sentence


SMALL = [0.01 + 0.001 * seed for seed in range(10)]


@pytest.mark.parametrize(
    ("gaps", "effect", "margin", "agrees"),
    [
        (SMALL, 1.0, 0.05, True),
        (SMALL, 1.0, 0.005, False),
        ([0.001] * 9 + [1.0], 1.0, 0.05, False),
        (SMALL[:3], 1.0, 0.05, False),
        (SMALL, 0.02, 0.05, False),
    ],
    ids=["within", "beyond", "worse on average", "too few", "beyond half of the effect"],
)
def test_figures_agree_where_interval_and_average_lie_within(
    gaps: list[float], effect: float, margin: float, agrees: bool
) -> None:
    ours = Amount("x", {seed: effect + gap for seed, gap in enumerate(gaps)}, NATS, margin)
    theirs = Amount("x", dict.fromkeys(range(20), effect), NATS, margin)  # more seeds than ours
    contrast = ours.held_against(theirs)
    assert contrast.agrees(0.05) == agrees
    assert contrast.p == pytest.approx(Sample.of(np.array(gaps)).p)
    assert contrast.margin == pytest.approx(min(margin, effect / 2))
    assert contrast.within == f"within {NATS.amount(min(margin, effect / 2))}"


def test_an_effect_that_is_not_shown_agrees_with_none() -> None:
    """However wide the margin, unless each seed has the same figure in both."""
    nothing = Amount("x", {seed: 0.001 * (-1) ** seed for seed in range(10)}, NATS, 9.0)
    something = Amount("x", {seed: 0.002 + 0.0001 * seed for seed in range(10)}, NATS, 9.0)
    outcomes = {}
    for name, ours, theirs in (
        ("neither", nothing, Amount("x", {seed: -value for seed, value in nothing.by_seed.items()}, NATS, 9.0)),
        ("one", something, nothing),
        ("same", nothing, nothing),
    ):
        contrast = ours.held_against(theirs)
        outcomes[name] = HeldEffect("C7", "x", contrast, p_adjusted=1.0, level=0.05)
    assert {name: each.outcome for name, each in outcomes.items()} == {
        "neither": Outcome.NO_EFFECT, "one": Outcome.UNDECIDED, "same": Outcome.AGREE
    }  # fmt: skip
    assert outcomes["one"].row(("PyTorch", "Keras"))[-1] == "not shown to agree or to differ; no effect shown in Keras"
    assert outcomes["same"].row(("PyTorch", "Keras"))[-1] == "agree on each of 10 seeds"


def test_where_nothing_is_decided_the_sentence_says_so(results: Path, tmp_path: Path) -> None:
    store_all(results)
    store_all(tmp_path / "other", settings=["engine.framework=pytorch"])
    found = agreement(tmp_path / "other", results)
    (held,) = [each for each in found.effects if each.claim == "C7"]
    gone = replace(held, contrast=replace(held.contrast, ours=Sample.of(-held.contrast.ours.values * 0.01)))
    told = replace(found, effects=[replace(gone, p_adjusted=1.0, level=0.01)]).sentence
    assert told.startswith(
        "The effects in PyTorch and TensorFlow (Keras) are shown neither to agree nor to differ on any claim; "
    )


def test_what_happened_is_held_together_seed_by_seed() -> None:
    ours, theirs = {seed: seed < 8 for seed in range(10)}, dict.fromkeys(range(12), True)
    contrast = Event("x", ours).held_against(Event("x", theirs))
    assert contrast.cells(0.05) == ["8 of 10", "10 of 10", "2 seeds of 10"]
    assert (contrast.p, contrast.agrees(0.05)) == (0.5, False)
    assert Event("x", theirs).held_against(Event("x", theirs)).agrees(0.05)


def test_what_can_show_no_difference_takes_no_power_from_the_others(results: Path, tmp_path: Path) -> None:
    store_all(results)
    store_all(tmp_path / "other", clipvalue={"loss": 1.3}, settings=["engine.framework=pytorch"])
    effects = agreement(tmp_path / "other", results).effects
    tested = [each for each in effects if each.is_tested]
    assert {each.claim for each in tested} == {"C2", "C3", "C7", "C8"}  # what happened is the same on each seed
    for each in tested:
        assert each.contrast.smallest_p == pytest.approx(2 / 2**9)
    assert [each.p_adjusted for each in tested if each.claim == "C2"] == pytest.approx([len(tested) * 2 / 2**9])
    alone = [each for each in effects if not each.is_tested]
    assert all((each.p_adjusted, each.level) == (each.contrast.p, 0.05) for each in alone)
    apart = [Event("x", {seed: seed >= count for seed in range(9)}).held_against(Event("x", dict.fromkeys(range(9), True)))
             for count in range(8)]  # fmt: skip
    assert [contrast.smallest_p < 0.05 for contrast in apart] == [False] * 6 + [True] * 2


def test_runs_of_one_seed_are_one_share(results: Path) -> None:
    """On each seed three runs end badly, each warned of before: one share, not three runs."""
    store_all(results)
    arms = answer_claims(SEEDS, results).arms
    effects = {effect.what: effect for effect in CLAIMS["C8"].effects(arms)}
    badly = effects["warned, of those that ended badly"]
    assert isinstance(badly, Amount)
    assert badly.unit == POINTS
    assert badly.by_seed == dict.fromkeys(SEEDS, 100.0)


def test_one_framework_is_not_held_against_itself(results: Path) -> None:
    store_all(results)
    with pytest.raises(ReportError, match="Both were trained by tensorflow"):
        held_against(answer_claims(SEEDS, results), results)
