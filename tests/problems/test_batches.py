"""What a step trains on follows from the seed alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gradclip_cli.problems.batches import BatchSchedule


def schedule(seed: int, **changes: int) -> BatchSchedule:
    return BatchSchedule(seed, **{"samples": 100, "batch_size": 8, "shuffle_buffer": 30, **changes})


@given(st.integers(0, 2**40), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_schedule_does_not_depend_on_how_it_is_taken(seed: int, parts: list[int]) -> None:
    whole = schedule(seed).take(sum(parts))
    source = schedule(seed)
    np.testing.assert_array_equal(np.concatenate([source.take(part) for part in parts]), whole)


def test_schedule_differs_by_seed_and_repeats_by_seed() -> None:
    assert (schedule(1).take(5) == schedule(1).take(5)).all()
    assert (schedule(1).take(5) != schedule(2).take(5)).any()


def test_schedule_repeats_the_dataset_evenly() -> None:
    """With a buffer smaller than the dataset, no sample can be drawn a whole buffer too early or be left behind for good."""
    drawn = schedule(3).take(5000).ravel()
    counts = Counter(drawn.tolist())
    assert set(counts) == set(range(100))
    assert max(counts.values()) - min(counts.values()) <= 6  # 400 passes; what is missing is still in the buffer
    position = np.arange(len(drawn))
    passes = position // 100
    assert (drawn + 100 * passes <= position + 30 + 100).all()


def test_a_buffer_of_one_keeps_the_order() -> None:
    np.testing.assert_array_equal(schedule(0, shuffle_buffer=1, samples=10).take(2).ravel(), np.arange(16) % 10)


def test_a_buffer_larger_than_the_dataset_works() -> None:
    assert set(schedule(0, shuffle_buffer=500, samples=10).take(50).ravel().tolist()) == set(range(10))


def test_shuffle_draws_like_tf_data() -> None:
    """How far a sample is displaced has the distribution that tf.data's shuffle gives."""
    import tensorflow as tf
    from scipy import stats

    from gradclip_cli.engines.tensorflow import set_up

    set_up()

    ours = schedule(0, samples=10**6, shuffle_buffer=200, batch_size=100).take(200).ravel()
    theirs = tf.data.Dataset.range(10**6).shuffle(200, seed=1).take(20_000)
    delays = [np.arange(20_000) - ours, np.arange(20_000) - np.array(list(theirs.as_numpy_iterator()))]
    assert stats.ks_2samp(*delays).statistic < 0.03
