"""Rules with a memory against their sources' formulas, step by step, with spikes and with norms that are not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gradclip_cli.arrays import FloatArray
from gradclip_cli.gradients.clipping_rule import Clipped, ClippingRule, Situation
from gradclip_cli.gradients.rules import RULES

STEPS = 64
SPIKES = {17: 30.0, 30: 4.0, 31: 2.5, 44: 1e3, 45: 1e3, 58: 0.01}
NAN, INFINITE = 22, 39
Step = list[FloatArray]
Outcome = tuple[Step, bool]


def steps(scale: float = 1.0) -> list[Step]:
    """Gradients of two variables, noisy, with spikes of both and of one, a NaN and an infinite element."""
    generator = np.random.default_rng(5)
    sizes = [SPIKES.get(step, 1.0) for step in range(STEPS)]
    taken = [[generator.normal(size=(3, 4)) * size, generator.normal(size=5) * 0.3 * size] for size in sizes]
    taken[50][1] *= 40
    taken[NAN][0][1, 1], taken[INFINITE][1][2] = math.nan, math.inf
    return [[(scale * gradient).astype(np.float32) for gradient in gradients] for gradients in taken]


def norm_of(*gradients: FloatArray) -> float:
    return math.sqrt(sum(np.square(gradient.astype(np.float64)).sum() for gradient in gradients))


def at_most(norm: float, gradients: Step) -> Step:
    """Rescaled where they are longer together."""
    return [gradient * min(1.0, norm / norm_of(*gradients)) for gradient in gradients]


def zclip(taken: list[Step], scale: float) -> Iterator[Outcome]:
    """Kumar et al. 2025: z-scores from exponential averages, and z* = 2.5^2 / z."""
    first: list[float] = []
    mean = variance = 0.0
    for gradients in taken:
        norm = norm_of(*gradients)
        if not math.isfinite(norm):
            yield gradients, False
            continue
        if len(first) < 10:
            first.append(norm)
            mean, variance = float(np.mean(first)), float(np.var(first))
            yield gradients, False
            continue
        z = (norm - mean) / math.sqrt(variance)
        clipped = mean + 2.5**2 / z * math.sqrt(variance) if z > 2.5 else norm
        yield at_most(clipped, gradients), z > 2.5
        mean = 0.9 * mean + 0.1 * clipped
        variance = 0.9 * variance + 0.1 * (clipped - mean) ** 2


def adagc(taken: list[Step], scale: float) -> Iterator[Outcome]:
    """Wang et al. 2025: global clipping at first, then each variable against its own average."""
    averages, seen = [math.inf] * 2, 0
    for gradients in taken:
        norms, joint = [norm_of(gradient) for gradient in gradients], norm_of(*gradients)
        if seen < 20:
            yield at_most(3.0 * scale, gradients), joint > 3.0 * scale
            if math.isfinite(joint):
                seen += 1
                averages = [min(average, norm * min(1, 3 * scale / joint)) for average, norm in zip(averages, norms, strict=True)]
            continue
        bounds = [1.05 * average for average in averages]
        clipped = [at_most(bound, [gradient])[0] for bound, gradient in zip(bounds, gradients, strict=True)]
        yield clipped, any(norm > bound for norm, bound in zip(norms, bounds, strict=True))
        averages = [
            0.98 * average + 0.02 * min(norm, bound) if math.isfinite(norm) else average
            for average, norm, bound in zip(averages, norms, bounds, strict=True)
        ]


def median(taken: list[Step], scale: float) -> Iterator[Outcome]:
    """Twice the median of up to 20 finite norms before."""
    seen: list[float] = []
    for gradients in taken:
        norm, bound = norm_of(*gradients), 2 * float(np.median(seen[-20:])) if seen else math.inf
        yield at_most(bound, gradients) if norm > bound else gradients, norm > bound
        seen += [norm] if math.isfinite(norm) else []


def skip(taken: list[Step], scale: float) -> Iterator[Outcome]:
    """Six standard deviations above the mean of up to 20 finite norms before, from 10 on."""
    seen: list[float] = []
    for gradients in taken:
        norm, recent = norm_of(*gradients), seen[-20:]
        bound = np.mean(recent) + 6 * np.std(recent, ddof=1) if len(recent) >= 10 else math.inf
        out = not norm <= bound if math.isfinite(norm) else True
        yield [np.zeros_like(gradient) for gradient in gradients] if out else gradients, out
        seen += [norm] if math.isfinite(norm) else []


BY_FORMULA: dict[str, tuple[Callable[[list[Step], float], Iterator[Outcome]], dict[str, float]]] = {
    "zclip": (zclip, {"smoothing": 0.9, "warmup": 10}),
    "adagc": (adagc, {"warmup": 20, "warmup_threshold": 3.0}),
    "median": (median, {"window": 20}),
    "skip": (skip, {"window": 20}),
}
ACTED = {"zclip": {17, 30, 44}, "adagc": {17, 30, 44, 45, 50}, "median": {17, 30, 44, 45}, "skip": {17, NAN, INFINITE, 44}}
"""Steps on which the formula acts, among others."""


def taken_by(rule: ClippingRule, taken: list[Step]) -> list[Clipped]:
    outcomes: list[Clipped] = []
    memory: Any = rule.memory(len(taken[0]))
    for gradients in taken:
        with np.errstate(all="ignore"):
            outcomes.append(rule.apply(Situation(gradients, memory=memory), np))
        memory = outcomes[-1].memory
    return outcomes


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
@pytest.mark.parametrize("mode", sorted(BY_FORMULA))
def test_each_step_is_the_formula_s(mode: str, scale: float) -> None:
    """At any scale: squares of these norms over- and underflow float32."""
    formula, settings = BY_FORMULA[mode]
    settings = {key: value * (scale if key == "warmup_threshold" else 1) for key, value in settings.items()}
    taken = steps(scale)
    with np.errstate(all="ignore"):
        expected = list(formula(taken, scale))
    found = taken_by(RULES[mode].model_validate(settings), taken)
    acted = {step for step, (_, acts) in enumerate(expected) if acts}
    assert {step for step, clipped in enumerate(found) if clipped.excess > 1} - {INFINITE} == acted - {INFINITE}
    assert acted >= ACTED[mode]
    assert len(acted) < STEPS
    for step, (clipped, (gradients, _)) in enumerate(zip(found, expected, strict=True)):
        if step in (NAN, INFINITE) and mode != "skip":
            continue  # What becomes of these is in test_rules.py; here, that the steps after them are as if they had not been.
        for ours, theirs in zip(clipped.gradients, gradients, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6 * scale, err_msg=str(step))


def of_norms(mode: str, norms: list[float], **settings: float) -> list[float]:
    """What is left of these norms."""
    rule = RULES[mode].model_validate(settings)
    return [float(clipped.gradients[0][0]) for clipped in taken_by(rule, [[np.array([norm], np.float32)] for norm in norms])]


def test_zclip_where_all_norms_were_alike() -> None:
    """They have no deviation, and so no z: what is above their mean is brought down to it."""
    assert of_norms("zclip", [2.0, 2.0, 2.0, 2.0, 9.0, 1.0], warmup=3) == pytest.approx([2, 2, 2, 2, 2, 1])


def test_zclip_clips_the_harder_the_more_a_norm_stands_out() -> None:
    left = [of_norms("zclip", [1.0, 2.0] * 5 + [norm], warmup=10)[-1] for norm in (2.7, 2.8, 3.5, 30.0, 3000.0)]
    assert left == pytest.approx([2.7, *(1.5 + 2.5**2 * 0.25 / (norm - 1.5) for norm in (2.8, 3.5, 30.0, 3000.0))])
    assert left[1:] == sorted(left[1:], reverse=True)


@pytest.mark.parametrize("mode", ["zclip", "median", "skip"])
def test_norms_of_zero_bound_nothing(mode: str) -> None:
    assert of_norms(mode, [0.0] * 30 + [7.0])[-1] == 7


def test_adagc_takes_no_running_norm_of_zero() -> None:
    """A variable without gradients during the warm-up would get none ever after."""
    assert of_norms("adagc", [0.0, 0.0, 5.0, 0.0, 10.0], warmup=2) == pytest.approx([0, 0, 5, 0, 1.05 * 0.98 * 5])
    assert of_norms("adagc", [0.5, 0.0, 0.4, 2.0], warmup=3) == pytest.approx([0.5, 0, 0.4, 1.05 * 0.4])


def test_skip_accepts_a_lasting_change_of_scale() -> None:
    norms = [1.0, 1.1] * 5 + [100.0] * 20
    left = of_norms("skip", norms, window=10, deviations=3)
    assert left[10] == 0
    assert left[-10:] == [100.0] * 10


@pytest.mark.parametrize("mode", sorted(RULES))
def test_only_a_rule_that_skips_says_so(mode: str) -> None:
    rule = RULES[mode].model_validate({"threshold": 1.0} if "threshold" in RULES[mode].model_fields else {})
    ones = [np.ones(3, np.float32)]
    clipped = rule.apply(Situation(ones, [1.0], ones, rule.memory(1)), np)
    assert (clipped.skip is not None) == rule.skips == (mode == "skip")
