"""Batches: which samples each step trains on, as a seed says and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradclip_cli.arrays import IntArray


class BatchSchedule:
    """The dataset index of every sample of every step: repeat, shuffle through a buffer, batch.

    The indices 0 to samples-1 come over and over; a buffer holds the next `shuffle_buffer` of them, each draw takes one
    at random and the next index takes its place, as tf.data's `repeat().shuffle(buffer).batch(size)` does. All follows
    from the seed; what a step gets does not depend on how many steps are taken at a time.
    """

    def __init__(self, seed: int, *, samples: int, batch_size: int, shuffle_buffer: int) -> None:
        self._generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
        self._samples = samples
        self._batch_size = batch_size
        self._buffer = [index % samples for index in range(shuffle_buffer)]
        self._next = shuffle_buffer % samples

    def take(self, steps: int) -> IntArray:
        """Give the next `steps` batches: (steps, batch_size) indices."""
        return np.fromiter(self._draw(steps * self._batch_size), np.int32).reshape(steps, self._batch_size)

    def _draw(self, count: int) -> Iterator[int]:
        buffer = self._buffer
        for slot in self._generator.integers(len(buffer), size=count).tolist():
            yield buffer[slot]
            buffer[slot] = self._next
            self._next = (self._next + 1) % self._samples
