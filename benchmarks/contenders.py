"""What the benchmark times, each in a process of its own: `python benchmarks/contenders.py NAME` prints its figures as JSON."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = 500  # an epoch of the article
TURNS = 10
SIZES = (10, 32, 64, 128)  # units of the LSTM
SIZED_STEPS = 250
RULES = {
    "none": "{mode: none}",
    "clipvalue": "{mode: clipvalue, threshold: 0.5}",
    "clipnorm": "{mode: clipnorm, threshold: 1}",
    "global_clipnorm": "{mode: global_clipnorm, threshold: 1}",
    "clipnorm of layers": "{mode: clipnorm, threshold: 1, layers: {dense: 5}}",
    "normalize": "{mode: normalize, threshold: 1}",
    "agc": "{mode: agc, threshold: 0.01}",
    "autoclip": "{mode: autoclip, percentile: 10}",
}
Figures = dict[str, float]


def fit() -> Figures:
    """The article's code, with clipvalue: Keras's `fit` over a tf.data pipeline."""
    model, pipeline, _ = fitted()
    return {"fit": _milliseconds_a_step(lambda: model.fit(pipeline, steps_per_epoch=STEPS, epochs=1, verbose=0))}


def fit_compiled() -> Figures:
    """The same with XLA and many steps a call."""
    model, pipeline, _ = fitted(jit_compile=True, steps_per_execution=250)
    return {"fit_compiled": _milliseconds_a_step(lambda: model.fit(pipeline, steps_per_epoch=STEPS, epochs=1, verbose=0))}


def fitted(units: int = 10, **compile_options: Any) -> tuple[Any, Any, Any]:
    """The article's model, compiled with clipvalue, its pipeline of batches, and the test set."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import tensorflow as tf

    from gradclip_cli.config import loading
    from gradclip_cli.problems import problem_of

    dataset = problem_of(loading.load("clipvalue")).load()
    images, labels = (dataset.train_inputs / 255.0).astype("float32"), dataset.train_targets.astype("int32")
    pipeline = tf.data.Dataset.from_tensor_slices((images, labels)).repeat().shuffle(5000).batch(32).prefetch(1)
    test = tf.data.Dataset.from_tensor_slices(
        ((dataset.evaluation_inputs / 255.0).astype("float32"), dataset.evaluation_targets.astype("int32"))
    ).batch(32)
    model = keras.Sequential([keras.Input((28, 28)), keras.layers.LSTM(units), keras.layers.Dense(10)])
    model.compile(
        keras.optimizers.SGD(learning_rate=0.01, clipvalue=0.5),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **compile_options,
    )
    return model, pipeline, test


def sizes_of_fit() -> Figures:
    """A step of `fit`, all cores, by the LSTM's units."""
    figures = {}
    for units in SIZES:
        model, pipeline, _ = fitted(units)
        figures[f"fit of {units} units"] = _milliseconds_a_step(
            lambda model=model, pipeline=pipeline: model.fit(pipeline, steps_per_epoch=SIZED_STEPS, epochs=1, verbose=0),
            SIZED_STEPS,
        )
    return figures


def sizes_of_engine() -> Figures:
    """A step of the engine, one thread, by the LSTM's units."""
    from gradclip_cli.config import loading
    from gradclip_cli.engines import build
    from gradclip_cli.problems import problem_of
    from gradclip_cli.runs import loop

    figures = {}
    for units in SIZES:
        chosen = loading.load("clipvalue", ["name=bench", f"model.units={units}"])
        dataset = problem_of(chosen).load()
        engine = build(chosen, dataset)
        batches = loop.start(chosen, engine, dataset).take(SIZED_STEPS)
        figures[f"engine of {units} units"] = _milliseconds_a_step(
            lambda engine=engine, batches=batches: engine.train(batches), SIZED_STEPS
        )
    return figures


def _milliseconds_a_step(epoch: Callable[[], object], steps: int = STEPS) -> float:
    """Of the second and third epoch, each of so many steps."""
    epoch()
    started = time.perf_counter()
    epoch()
    epoch()
    return (time.perf_counter() - started) / (2 * steps) * 1e3


def engines() -> Figures:
    """The engine, with and without its records, taking turns, so that the small difference is not the machine's drift."""
    from gradclip_cli.config import loading
    from gradclip_cli.engines import tensorflow as room
    from gradclip_cli.gradients.step_records import OF_VARIABLES
    from gradclip_cli.problems import problem_of

    def bare(losses: list[Any], taken: Any) -> Any:
        ones = [1.0] * (1 + len(OF_VARIABLES) * len(taken.after))
        return room.tf.stack([room.tf.cast(value, room.tf.float64) for value in (*losses, *ones)])

    class WithoutRecords(room.TensorFlowEngine):
        def _compile(self, xla: bool) -> None:
            super()._compile(xla)
            self._train = self._compiled(bare, xla)

    chosen = loading.load("clipvalue")
    dataset = problem_of(chosen).load()
    kinds = {"engine": room.TensorFlowEngine, "engine_without_records": WithoutRecords}
    built = {name: kind(problem_of(chosen), dataset) for name, kind in kinds.items()}
    return _in_turns({name: _epoch(engine, chosen, dataset) for name, engine in built.items()})


def rules() -> Figures:
    """An engine for each clipping rule, taking turns."""
    from gradclip_cli.config import loading
    from gradclip_cli.engines import build
    from gradclip_cli.problems import problem_of

    chosen = {name: loading.load("none", ["name=bench", f"clipping={clipping}"]) for name, clipping in RULES.items()}
    dataset = problem_of(chosen["none"]).load()
    built = {f"rule {name}": build(one, dataset) for name, one in chosen.items()}
    return _in_turns({name: _epoch(engine, chosen["none"], dataset) for name, engine in built.items()})


def _epoch(engine: Any, chosen: Any, dataset: Any) -> Callable[[], object]:
    """An epoch's steps of an engine that stands at its beginning."""
    from gradclip_cli.runs import loop

    batches = loop.start(chosen, engine, dataset).take(STEPS)
    return lambda: engine.train(batches)


def _in_turns(epochs: dict[str, Callable[[], object]]) -> Figures:
    times: dict[str, list[float]] = {name: [] for name in epochs}
    for epoch in epochs.values():
        epoch()
    for _ in range(TURNS):
        for name, epoch in epochs.items():
            started = time.perf_counter()
            epoch()
            times[name].append((time.perf_counter() - started) / STEPS * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def pixels() -> Figures:
    """784 time steps an image: compilation in seconds, a step in milliseconds, the process's largest memory in MB."""
    import resource

    from gradclip_cli.config import loading
    from gradclip_cli.engines import build
    from gradclip_cli.problems import problem_of
    from gradclip_cli.runs import loop

    chosen = loading.load("clipvalue", ["name=bench", "data.sequence=pixels"])
    dataset = problem_of(chosen).load()
    engine = build(chosen, dataset)
    batches = loop.start(chosen, engine, dataset).take(50)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        engine.train(batches)
        times.append(time.perf_counter() - started)
    step = min(times[1:]) / len(batches)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"pixels": step * 1e3, "pixels compilation": times[0] - step * len(batches), "pixels memory": memory}


def pytorch() -> Figures:
    """The same training written in eager PyTorch, and gradclip's PyTorch engine, taking turns, one thread."""
    import torch

    from gradclip_cli.config import loading
    from gradclip_cli.engines import build
    from gradclip_cli.problems import problem_of

    chosen = loading.load("pytorch/clipvalue", ["name=bench", "engine.device=cpu"])
    dataset = problem_of(chosen).load()
    torch.set_num_threads(1)
    images, labels = (torch.from_numpy(array) for array in _arrays())
    recurrent, dense = torch.nn.LSTM(28, 10, batch_first=True), torch.nn.Linear(10, 10)
    parameters = [*recurrent.parameters(), *dense.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.01)

    def epoch() -> None:
        for _ in range(STEPS):
            batch = torch.randint(len(images), (32,))
            optimizer.zero_grad()
            states, _ = recurrent(images[batch])
            torch.nn.functional.cross_entropy(dense(states[:, -1]), labels[batch]).backward()
            torch.nn.utils.clip_grad_value_(parameters, 0.5)
            optimizer.step()

    return _in_turns({"pytorch": epoch, "pytorch_engine": _epoch(build(chosen, dataset), chosen, dataset)})


def jax() -> Figures:
    """The same step written by hand in JAX and scanned over, without records, one thread."""
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    import jax as library
    import jax.numpy as jnp
    import numpy as np

    images, labels = (jnp.asarray(array) for array in _arrays())
    generator = np.random.default_rng(0)
    shapes = ((28, 40), (10, 40), (40,), (10, 10), (10,))
    weights = [jnp.asarray(generator.normal(0, 0.1, shape), jnp.float32) for shape in shapes]

    def loss(weights: Any, batch: Any) -> Any:
        kernel, recurrent, bias, dense, dense_bias = weights
        inputs = images[batch] @ kernel + bias

        def cell(state: Any, row: Any) -> Any:
            hidden, memory = state
            enter, forget, candidate, leave = jnp.split(row + hidden @ recurrent, 4, axis=-1)
            memory = library.nn.sigmoid(forget) * memory + library.nn.sigmoid(enter) * jnp.tanh(candidate)
            return (library.nn.sigmoid(leave) * jnp.tanh(memory), memory), None

        nothing = jnp.zeros((32, 10))
        (hidden, _), _ = library.lax.scan(cell, (nothing, nothing), jnp.swapaxes(inputs, 0, 1))
        logits = library.nn.log_softmax(hidden @ dense + dense_bias)
        return -logits[jnp.arange(32), labels[batch]].mean()

    def step(weights: Any, batch: Any) -> Any:
        value, gradients = library.value_and_grad(loss)(weights, batch)
        return [weight - 0.01 * jnp.clip(gradient, -0.5, 0.5) for weight, gradient in zip(weights, gradients, strict=True)], value

    train = library.jit(lambda weights, batches: library.lax.scan(step, weights, batches))
    batches = jnp.asarray(generator.integers(0, len(images), (STEPS, 32)))

    def epoch() -> None:
        library.block_until_ready(train(weights, batches))

    return {"jax": _milliseconds_a_step(epoch)}


def _arrays() -> tuple[Any, Any]:
    from gradclip_cli.config import loading
    from gradclip_cli.problems import problem_of

    dataset = problem_of(loading.load("clipvalue")).load()
    return (dataset.train_inputs / 255.0).astype("float32"), dataset.train_targets.astype("int64")


def jobs() -> Figures:
    """Steps a second of warm runs with one worker process and with two, a worker's memory, and a checkpoint's time."""
    from gradclip_cli.config import loading
    from gradclip_cli.runs.store import RunDirectory
    from gradclip_cli.runs.trainers import Task
    from gradclip_cli.runs.workers import WorkerProcesses

    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, 2):
            chosen = loading.load("clipvalue", ["name=bench", "training.epochs=4"])
            directories = [RunDirectory.of(Path(folder, str(count)), "bench", seed) for seed in range(6 * count)]
            with WorkerProcesses(count) as workers:
                futures = [workers.submit(Task.of(chosen.with_seed(each.seed), each)) for each in directories]
                endings = []
                for future in futures:
                    while not future.done():
                        list(workers.events(0.1))
                    endings.append(future.result())
                figures[f"memory {count}"] = max(_largest_memory(pid) for pid in workers.pids)
            warm = [ending.seconds for ending in endings[2 * count :]]
            figures[f"jobs {count}"] = count * 4 * STEPS / statistics.median(warm)
    return {**figures, **_checkpoint()}


def _largest_memory(pid: int) -> float:
    """A process's largest memory so far, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))


def _checkpoint() -> Figures:
    """Milliseconds that a checkpoint takes in the middle of a run."""
    from gradclip_cli.config import loading
    from gradclip_cli.engines import build
    from gradclip_cli.problems import problem_of
    from gradclip_cli.runs import loop
    from gradclip_cli.runs.store import RunDirectory

    chosen = loading.load("clipvalue")
    dataset = problem_of(chosen).load()
    engine = build(chosen, dataset)
    loop.start(chosen, engine, dataset)
    times = []
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory(Path(folder))
        directory.start(chosen, engine.variables, {})
        for _ in range(20):
            started = time.perf_counter()
            directory.write_checkpoint(chosen, {f"engine/{name}": value for name, value in engine.state().items()})
            times.append((time.perf_counter() - started) * 1e3)
    return {"checkpoint": statistics.median(times)}


CONTENDERS: dict[str, Callable[[], Figures]] = {
    each.__name__: each for each in (fit, fit_compiled, engines, rules, pixels, pytorch, jax, jobs, sizes_of_fit, sizes_of_engine)
}

if __name__ == "__main__":
    if sys.argv[1] != "jax":  # TensorFlow imports JAX where it is installed, and takes 100 MB more; gradclip's users need none.
        sys.path.insert(0, str(Path(__file__).with_name("without_jax")))
    print(json.dumps(CONTENDERS[sys.argv[1]]()))
