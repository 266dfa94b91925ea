"""Time a step of the article's literal `model.fit` beside a step of the engine: `make bench`.

The article's code and the engine run in processes of their own, in turn, because the machine's speed drifts; what counts is
the ratio of medians. Each warms up with an epoch (compilation, caches). What the gradient records cost is measured between
two engines that take turns in one process.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = 500
TURNS = 10
CONTENDERS = {
    "fit": "the article's model.fit, all cores",
    "engine": "gradclip's engine with its records, one thread",
    "engine_without_records": "the same without gradient records",
}


def time_fit() -> float:
    """The article's code, with clipvalue: Keras's `fit` over a tf.data pipeline."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import tensorflow as tf

    from gradclip_cli import config, data

    dataset = data.load(config.load("clipvalue").data)
    images, labels = dataset.train_images / 255.0, dataset.train_labels
    pipeline = tf.data.Dataset.from_tensor_slices((images.astype("float32"), labels.astype("int32")))
    pipeline = pipeline.repeat().shuffle(5000).batch(32).prefetch(1)
    model = keras.Sequential([keras.Input((28, 28)), keras.layers.LSTM(10), keras.layers.Dense(10)])
    model.compile(
        keras.optimizers.SGD(learning_rate=0.01, clipvalue=0.5),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return timed(lambda: model.fit(pipeline, steps_per_epoch=STEPS, epochs=1, verbose=0))


def time_engines() -> dict[str, float]:
    """Both engines in one process, taking turns, so that the small difference between them is not the machine's drift."""
    from gradclip_cli import config, data, weights
    from gradclip_cli.engines import tensorflow as room

    class WithoutRecords(room.TensorFlowEngine):
        def _gradient_columns(self, gradients: list[Any], applied: list[Any]) -> list[Any]:
            return [room.tf.constant(0.0, room.tf.float64)] * (4 * len(gradients))

        def _finite_columns(self) -> list[Any]:
            return [room.tf.constant(1.0, room.tf.float64)] * len(self.variables)

    chosen = config.load("clipvalue")
    dataset = data.load(chosen.data)
    start = weights.initial_weights(chosen.model, features=chosen.data.sequence_shape[1], classes=data.CLASSES, seed=0)
    batches = data.BatchSchedule(0, samples=60_000, batch_size=32, shuffle_buffer=5000).take(STEPS)
    engines = {"engine": room.TensorFlowEngine(chosen, dataset), "engine_without_records": WithoutRecords(chosen, dataset)}
    times: dict[str, list[float]] = {name: [] for name in engines}
    for engine in engines.values():
        engine.reset(start, learning_rate=0.01)
        engine.train(batches)
    for _ in range(TURNS):
        for name, engine in engines.items():
            started = time.perf_counter()
            engine.train(batches)
            times[name].append((time.perf_counter() - started) / STEPS * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def timed(epoch: Callable[[], object]) -> float:
    """Milliseconds a step of the second and third epoch."""
    epoch()
    started = time.perf_counter()
    epoch()
    epoch()
    return (time.perf_counter() - started) / (2 * STEPS) * 1e3


def measure(process: str) -> None:
    print(json.dumps({"fit": time_fit()} if process == "fit" else time_engines()))


def main(rounds: int = 5) -> None:
    times: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
    for number in range(1, rounds + 1):
        for process in ("fit", "engines"):
            command = [sys.executable, __file__, process]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
            for contender, milliseconds in json.loads(output.splitlines()[-1]).items():
                times[contender].append(milliseconds)
        latest = ", ".join(f"{name} {values[-1]:.2f} ms" for name, values in times.items())
        print(f"round {number} of {rounds}: {latest}", file=sys.stderr)
    medians = {contender: statistics.median(values) for contender, values in times.items()}
    print(f"{'ms a step, median of ' + str(rounds) + ' rounds (range)':58} {'':>6}")
    for contender, told in CONTENDERS.items():
        values = times[contender]
        print(f"{told:50} {medians[contender]:6.2f}  ({min(values):.2f} to {max(values):.2f})")
    speed_up = medians["fit"] / medians["engine"]
    pairs = zip(times["engine"], times["engine_without_records"], strict=True)
    cost = statistics.median(with_records / without - 1 for with_records, without in pairs)
    print(f"engine against fit: {speed_up:.1f} times faster (to hold: 6)")
    print(f"cost of the gradient records: {cost:.1%} of a step (to hold: 15%)")
    facts = {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version(), "rounds": rounds}
    folder = Path(__file__).parent.parent / "results" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": facts, "ms_a_step": times, "medians": medians, "speed_up": speed_up, "records_cost": cost}
    (folder / "bench.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1])
    else:
        main()
