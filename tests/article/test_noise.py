"""The noise floor: what it is by hand, and that its sentences claim no more than its intervals."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from conftest import ARTICLE
from reproduced import SEEDS, store_all

from gradclip_cli.article import noise
from gradclip_cli.article.reproduce import answer_claims
from gradclip_cli.evidence.arms import read_arms
from gradclip_cli.evidence.bootstrap import Estimate


def losses(arm: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """What the made-up runs of an arm end at, but for a constant."""
    return np.array([0.01 * np.sin(seed + len(arm)) for seed in SEEDS])


def test_noise_floor_by_hand(results: Path) -> None:
    store_all(results)
    floor = answer_claims(SEEDS, results).noise_floor
    control = losses("control") - losses("none")
    spread = floor.control.same_seed
    assert spread.loss_late.value == pytest.approx(control.std(ddof=1))
    assert spread.accuracy_late.value == pytest.approx(100 * control.std(ddof=1) / 3)
    assert spread.accuracy_middle_half.value == pytest.approx(100 * scipy.stats.iqr(control) / 3)
    assert spread.loss_early.value == 0
    assert spread.loss_late.low < spread.loss_late.value < spread.loss_late.high
    assert [each.arm for each in floor.arms] == ["clipnorm", "clipvalue"]
    clipvalue = floor.arms[1]
    apart = math.sqrt(losses("clipvalue").var(ddof=1) + losses("none").var(ddof=1))
    assert clipvalue.other_seeds.loss_late.value == pytest.approx(apart)
    paired = (losses("clipvalue") - losses("none")).std(ddof=1)
    assert clipvalue.gain_late.value == pytest.approx(apart / paired)
    cross = [one - other for i, one in enumerate(losses("clipvalue")) for j, other in enumerate(losses("none")) if i != j]
    assert clipvalue.other_seeds.accuracy_middle_half.value == pytest.approx(100 * scipy.stats.iqr(cross) / 3)
    ratio = control.var(ddof=1) / (losses("clipnorm") - losses("none")).var(ddof=1)
    assert floor.variances["clipnorm"].value == pytest.approx(ratio)
    assert floor.variances["clipnorm"].low < ratio < floor.variances["clipnorm"].high


@pytest.fixture(scope="module")
def floor() -> noise.NoiseFloor:
    """The article's own."""
    read, _ = read_arms(ARTICLE, ["none", "control", "clipnorm", "clipvalue"])
    arms = {arm.name: arm for arm in read}
    return noise.noise_floor(arms["none"], arms["control"], [arms["clipnorm"], arms["clipvalue"]])


def test_the_articles_own(floor: noise.NoiseFloor) -> None:
    """Both arms' variances make the unpaired spread, and an interval that holds 1 shows no difference."""
    assert {each.arm: round(each.gain_late.value, 2) for each in floor.arms} == {"clipnorm": 1.29, "clipvalue": 1.22}
    assert round(floor.variances["clipnorm"].value, 1) == 3.1
    assert floor.variances["clipnorm"].low < 1 < 20 < floor.variances["clipnorm"].high
    text = "\n".join(noise.to_markdown(floor))
    assert "For clipnorm and clipvalue its interval holds 1: it is not shown that the spreads differ." in text
    assert "leaves 1 out" not in text
    assert "is the same as `none`'s, of 30 seeds, on 26 for clipnorm and on 28 for clipvalue: clipping had acted on 0.09%" in text
    assert "which rare wide pairs rule, is larger so many times: 1.29 (1." in text
    assert "these intervals are too narrow to show a gain" in text
    json.dumps(floor.to_dict())


def test_the_placebo_shows_nothing_and_clipping_by_value_shows_against_it() -> None:
    read, _ = read_arms(ARTICLE, ["none", "control", "clipvalue"])
    arms = {arm.name: arm for arm in read}
    floor = noise.noise_floor(arms["none"], arms["control"], [arms["clipvalue"]])
    named = [tuple(each.figures[name] for name in ("arm", "against", "metric")) for each in floor.placebo]
    assert named == [("control", "none", "loss"), ("control", "none", "val_accuracy"), ("clipvalue", "control", "loss")]
    assert [each.figures["p"] < 0.05 for each in floor.placebo] == [False, False, True]
    assert [round(floor.placebo[-1].figures[name], 3) for name in ("typical", "low", "high")] == [-0.035, -0.072, -0.019]
    text = "\n".join(noise.to_markdown(floor))
    assert all(f"- {each.sentence}" in text for each in floor.placebo)


def test_a_difference_is_told_where_the_middle_halves_interval_leaves_one_out(floor: noise.NoiseFloor) -> None:
    """Whatever that of the variances, which is too narrow."""
    apart = {"clipnorm": Estimate(3.0, 1.5, 9.0), "clipvalue": Estimate(3.0, 0.9, 9.0)}
    text = "\n".join(noise.to_markdown(replace(floor, variances=dict.fromkeys(apart, apart["clipnorm"]), middle_halves=apart)))
    assert "For clipvalue its interval holds 1: it is not shown that the spreads differ." in text
    assert "For clipnorm its interval leaves 1 out: the spreads differ." in text
