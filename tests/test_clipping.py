"""Rules keep their bound, leave what is within it alone, and mean the same in NumPy and in Keras."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradclip_cli.clipping import RULES, FloatArray, clip_by_global_norm, clip_by_norm, clip_by_value, joint_norm

ELEMENTS = st.floats(-(2.0**100), 2.0**100, allow_subnormal=False, width=32)
GRADIENTS = st.tuples(arrays(np.float32, (3, 4), elements=ELEMENTS), arrays(np.float32, (5,), elements=ELEMENTS)).map(list)
THRESHOLDS = st.floats(1e-3, 1e3)
CLIPPING_MODES = sorted(set(RULES) - {"none"})


def measures(gradients: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
    exact = [gradient.astype(np.float64) for gradient in gradients]
    return (
        np.array([[np.linalg.norm(gradient) for gradient in exact]]),
        np.array([[np.abs(gradient).max() for gradient in exact]]),
    )


@pytest.mark.parametrize("mode", CLIPPING_MODES)
@given(gradients=GRADIENTS, threshold=THRESHOLDS)
def test_bound_is_kept(mode: str, gradients: list[FloatArray], threshold: float) -> None:
    rule = RULES[mode]
    clipped = rule.apply(gradients, threshold, np)
    assert (rule.measure(*measures(clipped)) <= threshold * (1 + 1e-6)).all()


@pytest.mark.parametrize("mode", CLIPPING_MODES)
@given(gradients=GRADIENTS, threshold=THRESHOLDS)
def test_untouched_below_the_threshold_and_idempotent(mode: str, gradients: list[FloatArray], threshold: float) -> None:
    rule = RULES[mode]
    once = rule.apply(gradients, threshold, np)
    twice = rule.apply(once, threshold, np)
    for before, first, second in zip(gradients, once, twice, strict=True):
        np.testing.assert_allclose(second, first, rtol=1e-6)
        if not rule.exceeded(*measures(gradients), threshold)[0]:
            np.testing.assert_allclose(first, before, rtol=1e-6)


@given(gradients=GRADIENTS, threshold=THRESHOLDS)
def test_exceeded_says_whether_the_rule_acts(gradients: list[FloatArray], threshold: float) -> None:
    for mode in CLIPPING_MODES:
        rule = RULES[mode]
        measured = rule.measure(*measures(gradients)).max()
        if abs(measured / threshold - 1) < 1e-5:
            continue  # rounding may decide either way
        changed = any(
            not np.allclose(before, after, rtol=1e-6, atol=0)
            for before, after in zip(gradients, rule.apply(gradients, threshold, np), strict=True)
        )
        assert bool(rule.exceeded(*measures(gradients), threshold)[0]) == changed, mode


def test_norm_rules_keep_the_direction_and_value_clipping_does_not() -> None:
    gradient = np.array([3.0, 0.1])
    for rule in (clip_by_norm, clip_by_global_norm):
        (clipped,) = rule([gradient], 1.0, np)
        np.testing.assert_allclose(clipped / np.linalg.norm(clipped), gradient / np.linalg.norm(gradient))
    (cut,) = clip_by_value([gradient], 1.0, np)
    np.testing.assert_allclose(cut, [1.0, 0.1])


def test_norm_is_per_variable_and_global_norm_is_joint() -> None:
    gradients = [np.array([3.0]), np.array([4.0])]
    np.testing.assert_allclose(np.concatenate(clip_by_norm(gradients, 1.0, np)), [1, 1])
    np.testing.assert_allclose(np.concatenate(clip_by_global_norm(gradients, 1.0, np)), [0.6, 0.8])
    np.testing.assert_allclose(joint_norm(np.array([[3.0, 4.0]])), [[5.0]])


@given(gradients=GRADIENTS.filter(lambda gradients: all(np.abs(g).max() < 1e15 for g in gradients)), threshold=THRESHOLDS)
def test_same_in_keras(gradients: list[FloatArray], threshold: float) -> None:
    """Within float32's range for squares, Keras's own clipping is the rule (beyond it, Keras's norm overflows)."""
    import keras

    from gradclip_cli.engines.tensorflow import use_one_thread

    use_one_thread()
    for mode in CLIPPING_MODES:
        tensors = [keras.ops.convert_to_tensor(gradient) for gradient in gradients]
        by_keras = keras.optimizers.SGD(**{mode: threshold})._clip_gradients(tensors)
        by_rule = RULES[mode].apply(tensors, threshold, keras.ops)
        by_numpy = RULES[mode].apply(gradients, threshold, np)
        for from_keras, from_rule, from_numpy in zip(by_keras, by_rule, by_numpy, strict=True):
            np.testing.assert_allclose(np.array(from_rule), from_numpy, rtol=1e-5, atol=1e-35)
            np.testing.assert_allclose(np.array(from_keras), from_numpy, rtol=1e-5, atol=1e-20)
