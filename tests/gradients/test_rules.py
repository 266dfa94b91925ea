"""Rules keep their bound, leave what is within it alone, and mean the same in NumPy, in Keras (compiled) and in PyTorch."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import FRAMEWORKS, needs_pytorch, rule_with
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradclip_cli.arrays import FloatArray
from gradclip_cli.engines.tensorflow import set_up
from gradclip_cli.gradients import rules, tables
from gradclip_cli.gradients.clipping_rule import Clipped, ClippingRule, Situation
from gradclip_cli.gradients.excess import measured_excess
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.gradients.scopes import joint_norm

set_up()

LARGEST = float(np.finfo(np.float32).max)
# From just above float32's smallest normal number to its largest: squares over- and underflow.
ELEMENTS = st.floats(-LARGEST, LARGEST, allow_subnormal=False, width=32)
SHAPES = ((3, 4), (5,))
WEIGHTS = [np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), np.zeros(5, np.float32)]
GRADIENTS = st.tuples(*(arrays(np.float32, shape, elements=ELEMENTS) for shape in SHAPES)).map(list)
MODERATE = st.tuples(
    *(arrays(np.float32, shape, elements=st.floats(-(2.0**50), 2.0**50, allow_subnormal=False, width=32)) for shape in SHAPES)
).map(list)  # squares within float32's range
THRESHOLDS = st.sampled_from([1e-3, 0.5, 1.0, 1e3])
SETTINGS = {"epsilon": 1e-3, "percentile": 50.0, "window": 4, "warmup": 3, "warmup_threshold": 0.5}
CLIPPING_MODES = sorted(set(RULES) - {"none"})
WITH_MEMORY = sorted(mode for mode in CLIPPING_MODES if rule_with(mode, **SETTINGS, threshold=1).memory(2))
STATELESS = sorted(set(CLIPPING_MODES) - set(WITH_MEMORY))
BOUNDING = sorted(set(STATELESS) - {"normalize"})
EXTREME = {
    "zeros": [np.zeros(shape, np.float32) for shape in SHAPES],
    "tiny": [np.full(shape, 1e-37, np.float32) for shape in SHAPES],
    "huge": [np.full(shape, -1e30, np.float32) for shape in SHAPES],
    "largest": [np.full(shape, LARGEST, np.float32) for shape in SHAPES],
    "one huge element": [np.eye(3, 4, dtype=np.float32) * 1e-3 + np.float32(1e30) * np.eye(3, 4, 2, dtype=np.float32),
                         np.full(5, 0.01, np.float32)],
    "tiny beside huge": [np.full((3, 4), 1e-30, np.float32), np.full(5, 1e30, np.float32)],
}  # fmt: skip


def rule_of(mode: str, threshold: float = 1.0) -> ClippingRule:
    return rule_with(mode, threshold=threshold, **SETTINGS)


def clipped_by(mode: str, gradients: list[FloatArray], threshold: float = 1.0, memory: Any = None) -> Clipped:
    rule = rule_of(mode, threshold)
    memory = rule.memory(len(gradients)) if memory is None else memory
    now = Situation(gradients, [threshold] * len(gradients), WEIGHTS[: len(gradients)], memory)
    with np.errstate(all="ignore"):
        return rule.apply(now, np)


def apply(mode: str, gradients: list[FloatArray], threshold: float = 1.0, memory: Any = None) -> list[FloatArray]:
    return clipped_by(mode, gradients, threshold, memory).gradients


@functools.cache
def compiled(mode: str, threshold: float) -> Callable[..., Any]:
    """The rule as the engine runs it: over keras.ops, compiled by XLA."""

    def step(gradients: Any, memory: Any) -> Any:
        now = Situation(gradients, [threshold] * 2, [tf.constant(weight) for weight in WEIGHTS], memory)
        clipped = rule_of(mode, threshold).apply(now, keras.ops)
        return clipped.gradients, {key: tf.cast(value, memory[key].dtype) for key, value in clipped.memory.items()}

    return tf.function(step, jit_compile=True)


def apply_in(
    framework: str, mode: str, gradients: list[FloatArray], threshold: float = 1.0, memory: Any = None
) -> tuple[list[FloatArray], dict[str, FloatArray]]:
    """The gradients and the memory that a framework's engine would have after a step."""
    memory = rule_of(mode).memory(len(gradients)) if memory is None else memory
    if framework == "tensorflow":
        tensors = {key: tf.constant(value) for key, value in memory.items()}
        clipped, remembered = compiled(mode, threshold)([tf.constant(g) for g in gradients], tensors)
    else:
        clipped, remembered = apply_in_pytorch(mode, gradients, threshold, memory)
    return [tensor.numpy() for tensor in clipped], {key: value.numpy() for key, value in remembered.items()}


def apply_in_pytorch(mode: str, gradients: list[FloatArray], threshold: float, memory: Any) -> tuple[list[Any], dict[str, Any]]:
    import torch

    given, weights = ([torch.tensor(array) for array in arrays] for arrays in (gradients, WEIGHTS))
    remembered = {key: torch.tensor(value) for key, value in memory.items()}
    clipped = rule_of(mode, threshold).apply(Situation(given, [threshold] * len(given), weights, remembered), torch)
    return clipped.gradients, {key: value.to(remembered[key].dtype) for key, value in clipped.memory.items()}


def by_formula(mode: str, gradients: list[FloatArray], threshold: float) -> list[FloatArray]:
    """The formulas of the rules' table, in float64, where nothing overflows."""
    exact = [gradient.astype(np.float64) for gradient in gradients]
    whole = np.sqrt(sum((gradient**2).sum() for gradient in exact))

    def shortened(gradient: FloatArray, norm: Any, bound: Any) -> FloatArray:
        return gradient * np.where(norm > bound, bound / np.where(norm > 0, norm, 1), 1)

    if mode == "clipvalue":
        return [np.clip(gradient, -threshold, threshold) for gradient in exact]
    if mode == "clipnorm":
        return [shortened(gradient, np.linalg.norm(gradient), threshold) for gradient in exact]
    if mode == "normalize":
        return [gradient * (threshold / whole if whole else 0) for gradient in exact]
    if mode == "agc":
        units = [np.linalg.norm(gradient, axis=0 if gradient.ndim > 1 else None) for gradient in exact]
        bounds = [threshold * np.maximum(np.linalg.norm(w, axis=0 if w.ndim > 1 else None), 1e-3) for w in WEIGHTS]
        return [shortened(*each) for each in zip(exact, units, bounds, strict=True)]
    return [shortened(gradient, whole, whole_bound(mode, whole, threshold)) for gradient in exact]


def whole_bound(mode: str, whole: float, threshold: float) -> float:
    """What bounds the joint norm on a first step: of some rules nothing yet."""
    if mode == "autoclip":
        return whole  # the percentile of this step's norm alone
    if mode == "skip":
        assume(abs(whole / LARGEST - 1) > 1e-6)  # Nearer than that rounding decides whether a float32 holds the norm.
        return whole if whole <= LARGEST else 0  # A norm that is not finite leaves the step out.
    return {"adagc": 0.5, "median": np.inf, "zclip": np.inf}.get(mode, threshold)


def measured(mode: str, gradients: list[FloatArray]) -> FloatArray:
    exact = [gradient.astype(np.float64) for gradient in gradients]
    if mode == "agc":
        units = [
            np.linalg.norm(g, axis=0) / np.maximum(np.linalg.norm(w, axis=0), 1e-3) for g, w in zip(exact, WEIGHTS, strict=True)
        ]
        return np.concatenate([np.ravel(unit) for unit in units])
    norms, largest = np.array([[np.linalg.norm(g) for g in exact]]), np.array([[np.abs(g).max() for g in exact]])
    measure = RULES[mode].scope.measure
    assert measure is not None
    return measure(norms, largest)


def close(mode: str, ours: list[FloatArray], theirs: list[FloatArray]) -> None:
    """Equal to 1e-6, or to 1e-6 of the largest element that the rule measured with it: smaller ones may be flushed to zero."""
    largest = [np.abs(other).max() for other in theirs]
    if RULES[mode].scope.name == "all together":
        largest = [max(largest)] * len(largest)
    for one, other, scale in zip(ours, theirs, largest, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6 * scale + 2e-38)


@pytest.mark.parametrize("mode", CLIPPING_MODES)
@given(gradients=GRADIENTS, threshold=THRESHOLDS)
def test_numpy_does_what_the_formula_says(mode: str, gradients: list[FloatArray], threshold: float) -> None:
    close(mode, apply(mode, gradients, threshold), by_formula(mode, gradients, threshold))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("mode", CLIPPING_MODES)
@given(gradients=GRADIENTS, threshold=st.sampled_from([1e-3, 1.0]))
@settings(max_examples=50)
def test_same_in_numpy_and_in_the_engine(mode: str, framework: str, gradients: list[FloatArray], threshold: float) -> None:
    close(mode, apply_in(framework, mode, gradients, threshold)[0], apply(mode, gradients, threshold))


@pytest.mark.parametrize("where", ["numpy", *FRAMEWORKS])
@pytest.mark.parametrize("name", EXTREME)
@pytest.mark.parametrize("mode", CLIPPING_MODES)
def test_extreme_gradients(mode: str, name: str, where: str) -> None:
    """Squares of finite gradients overflow or vanish in float32; the rules still do what their formula says."""
    gradients = EXTREME[name]
    for threshold in (1e-3, 1.0):
        ours = apply(mode, gradients, threshold) if where == "numpy" else apply_in(where, mode, gradients, threshold)[0]
        close(mode, ours, by_formula(mode, gradients, threshold))


@pytest.mark.parametrize("mode", STATELESS)
@given(gradients=GRADIENTS, threshold=THRESHOLDS)
def test_bound_is_kept(mode: str, gradients: list[FloatArray], threshold: float) -> None:
    assert (measured(mode, apply(mode, gradients, threshold)) <= threshold * (1 + 1e-6)).all()


@pytest.mark.parametrize("mode", BOUNDING)
@given(gradients=GRADIENTS, threshold=THRESHOLDS)
def test_untouched_below_the_threshold_and_idempotent(mode: str, gradients: list[FloatArray], threshold: float) -> None:
    once = apply(mode, gradients, threshold)
    close(mode, apply(mode, once, threshold), once)
    if (measured(mode, gradients) < threshold * (1 - 1e-6)).all():
        for before, after in zip(gradients, once, strict=True):
            assert before.tobytes() == after.tobytes()


@given(gradients=GRADIENTS, threshold=THRESHOLDS)
def test_normalized_norm_is_the_threshold(gradients: list[FloatArray], threshold: float) -> None:
    once = apply("normalize", gradients, threshold)
    if any(gradient.any() for gradient in gradients):
        assert measured("normalize", once).item() == pytest.approx(threshold, rel=1e-6)
        close("normalize", apply("normalize", once, threshold), once)
    else:
        assert not any(gradient.any() for gradient in once)


@pytest.mark.parametrize("mode", [mode for mode in BOUNDING if rule_of(mode).measured])
@given(gradients=GRADIENTS, threshold=THRESHOLDS)
def test_excess_says_whether_the_rule_acts(mode: str, gradients: list[FloatArray], threshold: float) -> None:
    norms = np.array([[np.linalg.norm(gradient.astype(np.float64)) for gradient in gradients]])
    largest = np.array([[np.abs(gradient).max() for gradient in gradients]])
    excess = measured_excess(RULES[mode].scope, norms, largest, [threshold] * 2).item()
    if abs(excess - 1) < 1e-5:
        return  # rounding may decide either way
    changed = any(a.tobytes() != b.tobytes() for a, b in zip(gradients, apply(mode, gradients, threshold), strict=True))
    assert (excess > 1) == changed


def test_excess_of_units_and_percentiles() -> None:
    gradients = [np.zeros((3, 4), np.float32), np.full(5, 2.0, np.float32)]
    clipped = clipped_by("agc", gradients, 0.5)
    assert clipped.excess == pytest.approx(np.sqrt(20) / (0.5 * 1e-3))  # zero weights count as epsilon
    excesses, memory = [], None
    for norm in (3.0, 1.0, 6.0):
        clipped = clipped_by("autoclip", [np.array([norm], np.float32)], memory=memory)
        excesses.append(float(clipped.excess))
        memory = clipped.memory
    assert excesses == pytest.approx([3 / 3, 1 / 2, 6 / 3])


@given(
    norms=st.lists(st.floats(0, 2.0**100, width=32, allow_subnormal=False), min_size=1, max_size=30),
    percentile=st.floats(0, 100),
    window=st.integers(1, 12),
)
def test_autoclip_is_the_percentile_of_the_window(norms: list[float], percentile: float, window: int) -> None:
    """Against NumPy's own percentile of the last norms, a step at a time."""
    rule = rule_with("autoclip", percentile=percentile, window=window)
    memory: Any = rule.memory(1)
    for step, norm in enumerate(norms, 1):
        clipped = rule.apply(Situation([np.array([norm, 0], np.float32)], memory=memory), np)
        gradients, memory = clipped.gradients, clipped.memory
        seen = np.array(norms[max(0, step - window) : step])
        bound = np.percentile(seen, percentile)
        np.testing.assert_array_equal(memory["sorted"][: len(seen)], np.sort(seen).astype(np.float32))
        np.testing.assert_allclose(gradients[0][0], min(norm, bound), rtol=1e-5, atol=1e-6 * seen.max() + 1e-37)


@pytest.mark.parametrize("mode", WITH_MEMORY)
def test_memory_goes_on_in_the_engine_as_in_numpy(mode: str, framework: str) -> None:
    ours: Any = rule_of(mode).memory(len(SHAPES))
    theirs: Any = ours
    generator = np.random.default_rng(0)
    for _ in range(12):
        gradients = [(generator.normal(size=shape) * generator.lognormal()).astype(np.float32) for shape in SHAPES]
        clipped = clipped_by(mode, gradients, memory=ours)
        ours = clipped.memory
        applied, theirs = apply_in(framework, mode, gradients, 1.0, theirs)
        close(mode, applied, clipped.gradients)
        for key, value in ours.items():
            np.testing.assert_allclose(theirs[key], value, rtol=1e-5)


@pytest.mark.parametrize("mode", WITH_MEMORY)
def test_rules_with_memory_learn_nothing_from_what_is_not_finite(mode: str) -> None:
    """Neither on the first steps nor later, whether the element is in the one variable or the other."""
    finite = [[np.full(shape, size, np.float32) for shape in SHAPES] for size in (1.0, 3.0, 2.0, 4.0, 2.5, 3.5)]
    memory, undisturbed = rule_of(mode).memory(len(SHAPES)), rule_of(mode).memory(len(SHAPES))
    for bad, gradients in zip([np.nan, np.inf, -np.inf] * 2, finite, strict=True):
        broken = [gradients[0].copy(), gradients[1]]
        broken[0][0, 0] = bad
        memory = clipped_by(mode, broken, memory=memory).memory
        if mode == "adagc" and memory["count"] >= SETTINGS["warmup"]:  # The other variable goes on by itself.
            memory = {**memory, "norms": np.array([memory["norms"][0], undisturbed["norms"][1]])}
        memory = clipped_by(mode, gradients, memory=memory).memory
        undisturbed = clipped_by(mode, gradients, memory=undisturbed).memory
        for key, value in undisturbed.items():
            np.testing.assert_array_equal(memory[key], value, err_msg=key)


def test_norm_rules_keep_the_direction_and_value_clipping_does_not() -> None:
    gradient = np.array([3.0, 0.1])
    for clipped in (clipped for mode in ("clipnorm", "global_clipnorm", "normalize") for clipped in apply(mode, [gradient])):
        np.testing.assert_allclose(clipped / np.linalg.norm(clipped), gradient / np.linalg.norm(gradient))
    (cut,) = apply("clipvalue", [gradient])
    np.testing.assert_allclose(cut, [1.0, 0.1])


def test_norm_is_per_variable_and_global_norm_is_joint() -> None:
    gradients = [np.array([3.0]), np.array([4.0])]
    np.testing.assert_allclose(np.concatenate(apply("clipnorm", gradients)), [1, 1])
    np.testing.assert_allclose(np.concatenate(apply("global_clipnorm", gradients)), [0.6, 0.8])
    np.testing.assert_allclose(joint_norm(np.array([[3.0, 4.0]])), [[5.0]])


def test_agc_bounds_columns_of_kernels_and_whole_biases() -> None:
    clipped = apply("agc", [np.ones((3, 4), np.float32), np.ones(5, np.float32)], 0.1)
    norms = np.linalg.norm(WEIGHTS[0], axis=0)
    np.testing.assert_allclose(np.linalg.norm(clipped[0], axis=0), 0.1 * norms, rtol=1e-6)
    assert np.linalg.norm(clipped[1]) == pytest.approx(0.1 * 1e-3)


def test_thresholds_of_layers() -> None:
    gradients = [np.full((3, 4), 2.0, np.float32), np.full(5, 2.0, np.float32)]
    for mode in ("clipvalue", "clipnorm", "agc"):
        bounded, free = rule_of(mode).apply(Situation(gradients, [1.0, np.inf], WEIGHTS), np).gradients
        assert np.abs(bounded).max() <= 1
        assert free.tobytes() == gradients[1].tobytes()
    norms = np.array([[2.0, 9.0], [0.5, np.inf]])
    excess = measured_excess(RULES["clipnorm"].scope, norms, np.zeros((2, 2)), [1.0, np.inf])
    np.testing.assert_array_equal(excess, [2.0, 0.5])


# What becomes of [bad, 1, -2, ...] in the first variable, and of the second, which is finite. N: NaN, 0: zero, t: the
# threshold, =: as it was, c: clipped as the rule always does. The table of docs/rules.md, as a test.
BEYOND_FLOAT = {
    ("none", "inf"): ("inf", "=", "="),
    ("none", "nan"): ("N", "=", "="),
    ("clipvalue", "inf"): ("t", "c", "c"),
    ("clipvalue", "nan"): ("N", "c", "c"),
    ("clipnorm", "inf"): ("N", "0", "c"),
    ("clipnorm", "nan"): ("N", "N", "c"),
    ("agc", "inf"): ("N", "0", "c"),
    ("agc", "nan"): ("N", "N", "c"),
    ("global_clipnorm", "inf"): ("N", "0", "0"),
    ("global_clipnorm", "nan"): ("N", "N", "N"),
    ("normalize", "inf"): ("N", "0", "0"),
    ("normalize", "nan"): ("N", "N", "N"),
    ("autoclip", "inf"): ("N", "0", "0"),
    ("autoclip", "nan"): ("N", "N", "N"),
    ("median", "inf"): ("N", "0", "0"),
    ("median", "nan"): ("N", "N", "N"),
    ("zclip", "inf"): ("N", "0", "0"),
    ("zclip", "nan"): ("N", "N", "N"),
    ("adagc", "inf"): ("N", "0", "c"),
    ("adagc", "nan"): ("N", "N", "c"),
    ("skip", "inf"): ("0", "0", "0"),
    ("skip", "nan"): ("0", "0", "0"),
}
# The same during the warm-up of the rules that have one.
BEGINNING = {
    ("zclip", "inf"): ("inf", "=", "="),
    ("zclip", "nan"): ("N", "N", "N"),
    ("adagc", "inf"): ("N", "0", "0"),
    ("adagc", "nan"): ("N", "N", "N"),
    ("skip", "inf"): ("0", "0", "0"),
    ("skip", "nan"): ("0", "0", "0"),
}


def told(values: FloatArray, before: FloatArray, alone: FloatArray) -> str:
    """The letter for what became of finite elements `before`, which the rule by itself would make `alone`."""
    if np.isnan(values).all():
        return "N"
    if not values.any():
        return "0"
    return "=" if values.tobytes() == before.tobytes() else "c" if np.allclose(values, alone, rtol=1e-6) else "?"


def fate(mode: str, results: list[FloatArray], gradients: list[FloatArray], memory: Any = None) -> tuple[str, str, str]:
    alone = apply(mode, [np.nan_to_num(g, nan=0, posinf=0) for g in gradients], memory=memory)
    first, neighbour = results[0][0, 0], results[0][1:, 0]
    letter = "N" if np.isnan(first) else "inf" if np.isinf(first) else {1: "t", 0: "0"}.get(first, "?")
    return letter, told(neighbour, gradients[0][1:, 0], alone[0][1:, 0]), told(results[1], gradients[1], alone[1])


CASES = [(*case, "later") for case in sorted(BEYOND_FLOAT)] + [(*case, "beginning") for case in sorted(BEGINNING)]


@pytest.mark.parametrize("where", ["numpy", *FRAMEWORKS])
@pytest.mark.parametrize(("mode", "bad", "when"), CASES)
def test_what_rules_do_to_gradients_that_are_not_finite(mode: str, bad: str, when: str, where: str) -> None:
    first = np.full((3, 4), -2.0, np.float32)
    first[0, 0] = float(bad)
    gradients, memory = [first, np.full(5, 3.0, np.float32)], None
    for size in (0.1, 0.11, 0.12, 0.13) if mode in WITH_MEMORY and when == "later" else ():  # so that there is a threshold
        memory = clipped_by(mode, [np.full(shape, size, np.float32) for shape in SHAPES], memory=memory).memory
    clipped = apply(mode, gradients, 1.0, memory) if where == "numpy" else apply_in(where, mode, gradients, 1.0, memory)[0]
    expected = BEYOND_FLOAT if when == "later" else BEGINNING
    assert fate(mode, clipped, gradients, memory) == expected[mode, bad]


def by_keras(mode: str, gradients: list[FloatArray], threshold: float = 1.0) -> list[FloatArray]:
    tensors = [tf.constant(gradient) for gradient in gradients]
    return [np.array(tensor) for tensor in keras.optimizers.SGD(**{mode: threshold})._clip_gradients(tensors)]


@pytest.mark.parametrize("mode", ["clipvalue", "clipnorm", "global_clipnorm"])
@given(gradients=MODERATE, threshold=THRESHOLDS)
def test_keras_clips_as_the_rule_does(mode: str, gradients: list[FloatArray], threshold: float) -> None:
    """Within float32's range for squares, Keras's own clipping is the rule (beyond it, Keras's norm overflows)."""
    for ours, theirs in zip(apply(mode, gradients, threshold), by_keras(mode, gradients, threshold), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5 * np.abs(ours).max() + 1e-20)


@needs_pytorch
@pytest.mark.parametrize("mode", ["clipvalue", "clipnorm", "global_clipnorm"])
@given(gradients=MODERATE, threshold=THRESHOLDS)
def test_pytorch_clips_as_the_rule_does_but_for_its_1e_6(mode: str, gradients: list[FloatArray], threshold: float) -> None:
    """PyTorch adds it to the norm before it divides."""
    ours = apply(mode, gradients, threshold)
    if mode != "clipvalue":
        norms = [np.linalg.norm(gradient.astype(np.float64)) for gradient in gradients]
        norms = [np.linalg.norm(norms)] * len(norms) if mode == "global_clipnorm" else norms
        ours = [g * min(1, threshold / (norm + 1e-6)) for g, norm in zip(gradients, norms, strict=True)]
    for mine, theirs in zip(ours, by_pytorch(mode, gradients, threshold), strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-5, atol=1e-5 * np.abs(mine).max() + 1e-20)


def by_pytorch(mode: str, gradients: list[FloatArray], threshold: float) -> list[FloatArray]:
    import torch
    from torch.nn.utils import clip_grad_norm_, clip_grad_value_

    parameters = [torch.nn.Parameter(torch.zeros(gradient.shape)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    if mode == "clipvalue":
        clip_grad_value_(parameters, threshold)
    for group in [parameters] if mode == "global_clipnorm" else [[each] for each in parameters] if mode == "clipnorm" else []:
        clip_grad_norm_(group, threshold)
    return [parameter.grad.numpy() for parameter in parameters]


def test_where_keras_differs() -> None:
    """As documented: overflow of the squared norm, and global_clipnorm of an infinite element."""
    huge = [np.full((3, 4), 1e30, np.float32), np.ones(5, np.float32)]
    assert not by_keras("clipnorm", huge)[0].any()
    assert np.linalg.norm(by_keras("clipnorm", huge)[1]) == pytest.approx(1)
    assert all(np.isnan(gradient).all() for gradient in by_keras("global_clipnorm", huge))
    assert by_keras("clipvalue", huge)[0].tolist() == apply("clipvalue", huge)[0].tolist()
    infinite = [np.full((3, 4), -2.0, np.float32), np.full(5, 3.0, np.float32)]
    infinite[0][0, 0] = np.inf
    assert fate("clipvalue", by_keras("clipvalue", infinite), infinite) == BEYOND_FLOAT["clipvalue", "inf"]
    assert fate("clipnorm", by_keras("clipnorm", infinite), infinite) == BEYOND_FLOAT["clipnorm", "inf"]
    assert all(np.isnan(gradient).all() for gradient in by_keras("global_clipnorm", infinite))
    infinite[0][0, 0] = np.nan
    for mode in ("clipvalue", "clipnorm", "global_clipnorm"):
        assert fate(mode, by_keras(mode, infinite), infinite) == BEYOND_FLOAT[mode, "nan"]


# The folder of rules.


def test_a_file_is_a_rule_of_its_name() -> None:
    assert {module.name for module in pkgutil.iter_modules(rules.__path__)} == set(RULES)
    for mode in RULES:
        assert mode == "none" or "\nSource: " in (importlib.import_module(f"{rules.__name__}.{mode}").__doc__ or ""), mode


def test_rules_have_their_order() -> None:
    rules_with_memory = ["autoclip", "median", "zclip", "adagc", "skip"]
    assert list(RULES) == ["none", "clipvalue", "clipnorm", "global_clipnorm", "normalize", "agc", *rules_with_memory]


def test_a_config_is_read_without_numpy() -> None:
    """Commands that need no arrays start sooner."""
    code = "import sys; from gradclip_cli.config import schema; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_tables_stand_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    assert tables.formulas() in page
    assert tables.fates() in page


def test_bounds_are_told_where_records_can_be_held_against_them() -> None:
    assert {mode for mode in RULES if not rule_of(mode, 2.0).bounds} == {"none", "agc", *WITH_MEMORY}
    assert rule_of("normalize", 2.0).bounds == {"all together": 2.0}
    layers = RULES["clipnorm"].model_validate({"threshold": 1.0, "layers": {"dense": 5.0, "lstm": None}})
    assert layers.bounds == {"each variable": 1.0, "each variable of dense": 5.0}


@given(norms=arrays(np.float64, (7, 5), elements=st.floats(0, 1e300)))
def test_the_joint_norm_is_numpy_s_to_the_bit(norms: FloatArray) -> None:
    with np.errstate(over="ignore"):
        assert joint_norm(norms).tobytes() == np.linalg.norm(norms, axis=-1, keepdims=True).tobytes()
