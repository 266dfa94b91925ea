"""The benchmark of problems of one's own: each example's step against plain `fit`, what its records cost, and a pool of runs.

`python benchmarks/own_problems.py KIND EXAMPLE` prints one contender's figures as JSON; `bench.py` calls it so, in turns.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import whole

STEPS, TURNS = 250, 5
ROOT = Path(__file__).parent.parent
EXAMPLES = ("adding", "characters", "convolutions", "table", "temporal_order", "transformer")
RECURRENT = ("adding", "characters", "temporal_order")
FEW_WEIGHTS = ("table",)
"""Whose steps are so short that no share of one is asked of the records."""
DENSE = "dense"
SEEDS, ARMS = 8, 3
RECORDED = {"recorded": 1, "recorded_in_ten": 10}
"""Recorders, by of how many steps they record one."""
SPARSE, SPARSELY = "engine_one_in_five", 5
"""The engine where a config says `records: {every: 5}`."""
Figures = dict[str, float]


def config_path(name: str) -> Path:
    return Path(__file__).parent / DENSE / "config.yaml" if name == DENSE else ROOT / "examples" / name / "config.yaml"


def engines(name: str) -> Figures:
    """The engine, with and without its records, taking turns: wall and process CPU milliseconds a step."""
    from gradclip_cli.config import loading
    from gradclip_cli.engines import tensorflow as room
    from gradclip_cli.gradients.step_records import OF_VARIABLES
    from gradclip_cli.problems import problem_of
    from gradclip_cli.runs import loop

    def bare(losses: Any, taken: Any) -> Any:
        given = room.tf.stack([room.tf.cast(value, room.tf.float64) for value in losses])
        return room.tf.concat([given, room.tf.ones(1 + len(OF_VARIABLES) * len(taken.after), room.tf.float64)], 0)

    class WithoutRecords(room.TensorFlowEngine):
        def _compile(self, xla: bool) -> None:
            super()._compile(xla)
            self._quick, self._train = False, self._compiled(bare, xla)

    chosen = loading.load(str(config_path(name)))
    dataset = problem_of(chosen).load()
    kinds = {"engine": (room.TensorFlowEngine, 1), "engine_without_records": (WithoutRecords, 1)}
    kinds |= {SPARSE: (room.TensorFlowEngine, SPARSELY)} if name == DENSE else {}
    epochs = {}
    for kind, (engine_class, every) in kinds.items():
        engine = engine_class(problem_of(chosen), dataset)
        epochs[f"{kind} {name}"] = _epoch(engine, loop.start(chosen, engine, dataset).take(STEPS), every)
    return _in_turns(epochs)


def _epoch(engine: Any, batches: Any, every: int) -> Callable[[], object]:
    return lambda: engine.train_measuring(batches, every)


def fit(name: str) -> Figures:
    """Keras's `fit` on the very same batches, with all cores, and a run of the example's length."""
    clock = time.perf_counter()
    fitted = Fitted(name)
    ready = time.perf_counter() - clock
    clock = time.perf_counter()
    fitted.epoch()
    first = time.perf_counter() - clock
    figures = _in_turns({f"fit {name}": fitted.epoch}, turns=2)
    clock = time.perf_counter()
    fitted.model.evaluate(fitted.dataset.evaluation_inputs, fitted.dataset.evaluation_targets, verbose=0)
    evaluation = time.perf_counter() - clock
    training = fitted.config.training
    rest = training.epochs * training.steps_per_epoch - STEPS
    run = ready + first + rest * figures[f"fit {name}"] / 1e3 + training.epochs * evaluation
    return {**figures, f"fit run {name}": run}


class Fitted:
    """An example's model and batches, for Keras's `fit`."""

    def __init__(self, name: str, **clipping: float) -> None:
        import keras

        from gradclip_cli.config import loading
        from gradclip_cli.problems import problem_of
        from gradclip_cli.runs import loop

        self.config = chosen = loading.load(str(config_path(name)))
        self.dataset = dataset = problem_of(chosen).load()
        network: Any = problem_of(chosen).network("tensorflow", dataset)
        self.model = network.model
        arguments = {**chosen.optimizer.parameters(), "learning_rate": chosen.optimizer.learning_rate, **clipping}
        optimizer = keras.optimizers.get({"class_name": chosen.optimizer.name, "config": arguments})
        self.model.compile(optimizer, loss=self.model.loss, metrics=chosen.metrics)
        rows = loop.batch_schedule(chosen, dataset).take(STEPS).ravel()
        self._batches = dataset.train_inputs[rows], dataset.train_targets[rows]
        self._fit = {"batch_size": chosen.data.batch_size, "epochs": 1, "shuffle": False, "verbose": 0}

    def epoch(self, **others: Any) -> None:
        """One epoch of STEPS batches."""
        self.model.fit(*self._batches, **self._fit, **others)


def recorders(name: str) -> Figures:
    """The same `fit`, clipped, with and without a recorder, of each step and of one in ten, taking turns."""
    from gradclip_cli import Recorder

    class Staying(Recorder):
        """What is measured is a step: attaching and detaching, which compile anew, are done once."""

        def on_train_begin(self, logs: Any = None) -> None:
            if self._watch is None:
                super().on_train_begin(logs)

        def on_train_end(self, logs: Any = None) -> None:
            self._fetch()

    with tempfile.TemporaryDirectory() as folder:
        epochs: dict[str, Callable[[], object]] = {f"fit_clipped {name}": Fitted(name, global_clipnorm=1.0).epoch}
        staying = {kind: Staying(f"{folder}/{kind}/seed-0", every=every) for kind, every in RECORDED.items()}
        for kind, recorder in staying.items():
            epochs[f"{kind} {name}"] = functools.partial(Fitted(name, global_clipnorm=1.0).epoch, callbacks=[recorder])
        figures = _in_turns(epochs)
        for recorder in staying.values():
            Recorder.on_train_end(recorder)
        return figures


def _in_turns(epochs: dict[str, Callable[[], object]], turns: int = TURNS) -> Figures:
    """Medians of wall milliseconds a step by name, and of the process's CPU time as `NAME cpu`."""
    times: dict[str, list[float]] = {name: [] for name in (*epochs, *(f"{name} cpu" for name in epochs))}
    for epoch in epochs.values():
        epoch()
    for _ in range(turns):
        for name, epoch in epochs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            epoch()
            times[name].append((time.perf_counter() - wall) / STEPS * 1e3)
            times[f"{name} cpu"].append((time.process_time() - cpu) / STEPS * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def pool(name: str) -> Figures:
    """Seconds of an example's paired runs as one command."""
    base = config_path(name)
    with tempfile.TemporaryDirectory() as folder:
        third = Path(folder, "value.yaml")
        third.write_text(f"extends: {base}\nname: value\nclipping: {{mode: clipvalue, threshold: 0.5}}\n")
        arms = (str(base), str(base.with_name("clipped.yaml")), str(third))
        return {f"pool {name}": whole.seconds("-q", "run", *arms, "--seeds", str(SEEDS), "--results", f"{folder}/results")}


def table(figures: dict[str, list[float]]) -> list[str]:
    """The examples' rows, with ratios of medians, as lines of Markdown."""
    lines = ["| a step of an example, ms | `fit`, all cores | the engine, one thread | | records |", "|---|---:|---:|---:|---:|"]
    rows = [(name, "engine", title(name)) for name in (*EXAMPLES, DENSE)]
    for name, kind, words in [*rows, (DENSE, SPARSE, f"{title(DENSE)}, one step in {SPARSELY} recorded")]:
        theirs, ours = (statistics.median(figures[f"{each} {name}"]) for each in ("fit", kind))
        faster, cost = f"{theirs / ours:.1f} times faster", f"{records_cost(figures, name, kind):.0%}"
        lines.append(f"| {words} | {theirs:.2f} | {ours:.2f} | {faster} | {cost} |")
    return [
        *lines,
        "",
        "Batches are the same; what records cost is of the process's CPU time, by turns in one process. These times are of one "
        "round: a tenth more or less may be the machine's, as where records seem to cost less than nothing.",
    ]


def recorder_lines(figures: dict[str, list[float]]) -> list[str]:
    """What a recorder costs `fit`, as lines of Markdown."""
    lines = ["", "| a step of `fit`, clipped, ms | without | recorded | one step in ten |", "|---|---:|---:|---:|"]
    for name in (*EXAMPLES, DENSE):
        without, *recorded = (statistics.median(figures[f"{kind} {name}"]) for kind in ("fit_clipped", *RECORDED))
        shares = (recorder_cost(figures, name, kind) for kind in RECORDED)
        costs = " | ".join(f"{each:.2f} ({share:+.0%})" for each, share in zip(recorded, shares, strict=True))
        lines.append(f"| {title(name)} | {without:.2f} | {costs} |")
    apart = [
        abs(each - recorder_cost(figures, name)) for name in (*EXAMPLES, DENSE) for each in _shares(figures, name, "recorded")
    ]
    told = f"Shares are medians of {len(figures[f'recorded {DENSE}'])} rounds, which lie up to {max(apart):.0%} from them"
    return [*lines, "", f"{told}: so much is the machine's."]


def recorder_costs(figures: dict[str, list[float]]) -> dict[str, Any]:
    """The same as `docs/recording.md` takes it."""
    kinds = {"plain_ms": "fit_clipped", "recorded_ms": "recorded", "every_10_ms": "recorded_in_ten"}
    loops = [
        {"loop": f"{title(name)}, Keras", **{key: statistics.median(figures[f"{kind} {name}"]) for key, kind in kinds.items()}}
        for name in (*EXAMPLES, DENSE)
    ]
    packages = (f"{package} {metadata.version(package)}" for package in ("keras", "tensorflow"))
    return {"machine": f"{os.cpu_count()} cores of {platform.machine()}", "versions": " and ".join(packages), "loops": loops}


def title(name: str) -> str:
    return "784-256-10 on noise" if name == DENSE else name.replace("_", " ")


def recorder_cost(figures: dict[str, list[float]], name: str, kind: str = "recorded") -> float:
    """The share of a step of `fit` that a recorder takes: the median over rounds, each of which ran both."""
    return statistics.median(_shares(figures, name, kind))


def _shares(figures: dict[str, list[float]], name: str, kind: str) -> list[float]:
    pairs = zip(figures[f"{kind} {name}"], figures[f"fit_clipped {name}"], strict=True)
    return [with_it / without - 1 for with_it, without in pairs]


def records_cost(figures: dict[str, list[float]], name: str, kind: str = "engine") -> float:
    """The share of a step's CPU time that its records take."""
    with_them, without = (statistics.median(figures[f"{each} {name} cpu"]) for each in (kind, "engine_without_records"))
    return with_them / without - 1


def pool_lines(figures: dict[str, list[float]]) -> list[str]:
    """Paired runs through the pool against as many `fit` runs in sequence, which are extrapolated, as lines of Markdown."""
    lines = [
        "",
        f"| {SEEDS * ARMS} runs of an example, s | one `fit` after another, all cores | the pool | |",
        "|---|---:|---:|---:|",
    ]
    for name in EXAMPLES:
        fits, pool = _in_sequence(figures, name), figures[f"pool {name}"][0]
        lines.append(f"| {name.replace('_', ' ')} | {fits:.0f} | {pool:.0f} | {fits / pool:.1f} times faster |")
    return [
        *lines,
        "",
        "The `fit` runs are extrapolated from a run's parts: model and data made, the first epoch, a step, an evaluation.",
    ]


def _in_sequence(figures: dict[str, list[float]], name: str) -> float:
    """Seconds that the runs would take as one `fit` after another."""
    return SEEDS * ARMS * statistics.median(figures[f"fit run {name}"])


def bounds(figures: dict[str, list[float]]) -> list[tuple[str, float, str, float]]:
    """What must hold of the examples: what, the figure found, which way, the bound."""
    found = []
    for name in (*EXAMPLES, DENSE):
        faster = statistics.median(figures[f"fit {name}"]) / statistics.median(figures[f"engine {name}"])
        found.append((f"{name} against plain fit: times faster", faster, "at least", 2.5 if name in RECURRENT else 1.0))
        if name not in FEW_WEIGHTS:
            share = 0.25 if name == DENSE else 0.1
            found.append((f"records of {name}: share of a step", records_cost(figures, name), "at most", share))
            if name == DENSE:
                what = f"records of one step in {SPARSELY} of {name}: share of a step"
                found.append((what, records_cost(figures, name, SPARSE), "at most", share))
            most = 0.25 if name == DENSE else 0.05
            found.append((f"a recorder in fit of {name}: share of a step", recorder_cost(figures, name), "at most", most))
        if name in EXAMPLES:
            faster = _in_sequence(figures, name) / figures[f"pool {name}"][0]
            found.append((f"paired runs of {name} through the pool: times faster", faster, "at least", 2.5))
    return found


CONTENDERS: dict[str, Callable[[str], Figures]] = {"fit": fit, "engines": engines, "recorders": recorders}

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).with_name("without_jax")))
    print(json.dumps(CONTENDERS[sys.argv[1]](sys.argv[2])))
