"""How long planned runs will take: measured on this machine where asked, else as a machine was once measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from gradclip_cli import engines
from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.config.schema import Config
from gradclip_cli.problems import problem_of
from gradclip_cli.runs.loop import start
from gradclip_cli.runs.many import PlannedRun, is_script
from gradclip_cli.runs.steps import step_columns

TIMED_SAMPLES = 10_000


@dataclass(frozen=True)
class Pace:
    """How fast one kind of model trains, in seconds: a step, an evaluation of 10,000 samples, a compilation, a worker's start.

    A worker starts by importing the framework, loading the dataset and building the model.
    """

    step: float
    evaluation: float
    compilation: float
    start: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """What planned runs will take: between `least` and `most` seconds, and `size` bytes."""

    least: float
    most: float
    size: int


USUAL_PACES = {name: Pace(**framework.usual_pace) for name, framework in FRAMEWORKS.items()}
BYTES_A_COLUMN = 8.5
MOST_MEASURED = 3
TIMED_STEPS = 50


def estimate(
    planned: Sequence[PlannedRun], paces: Mapping[str, Pace] | None = None, *, jobs: int = 1, cores: int | None = None
) -> Estimate:
    """What the runs that are not skipped will take, with `jobs` of them at a time on `cores` (None: as many).

    `paces` are those of `measure_paces`; a kind that is not among them takes their mean. Without any, a machine like the one
    once measured is assumed. How often is compiled depends on which worker is free when, which is what the range is about.
    Scripts count nothing: nobody knows before how long they take.
    """
    todo = [run.config for run in planned if run.action != "skip" and not is_script(run)]
    if not todo:
        return Estimate(0.0, 0.0, 0)
    measured = list((paces or {}).values())
    training, size, start = 0.0, 0.0, 0.0
    compilations: dict[str, float] = {}
    for config in todo:
        usual = _mean(measured) if measured else USUAL_PACES[config.engine.framework]
        pace, steps = (paces or {}).get(_model_kind(config), usual), config.training.epochs * config.training.steps_per_epoch
        evaluation = pace.evaluation * (problem_of(config).evaluation_samples or TIMED_SAMPLES) / TIMED_SAMPLES
        training += steps * pace.step + config.training.epochs * evaluation
        size += steps // config.recorded_every * _bytes_a_record(config)
        compilations[engines.compile_key(config)] = pace.compilation
        start = max(start, pace.start)
    workers = min(jobs, len(todo))
    if workers == 1 and measured:
        start = 0.0  # This process has done that already, to measure.
    crowded = max(1.0, workers / (cores or workers))
    kinds, compiling = len(compilations), sum(compilations.values()) / len(compilations)
    # A worker stays with its kind while it can. At the end, one without work takes up another's, and compiles that too.
    fewest, most = max(kinds, workers), min(kinds + workers - 1, kinds * workers, len(todo))
    least_seconds, most_seconds = (
        crowded * (training / workers + compiling * max(1.0, often / workers) + start) for often in (fewest, max(fewest, most))
    )
    return Estimate(least_seconds, most_seconds, round(size))


def _mean(paces: Sequence[Pace]) -> Pace:
    return Pace(*(sum(values) / len(paces) for values in zip(*map(astuple, paces), strict=True)))


def _bytes_a_record(config: Config) -> float:
    return BYTES_A_COLUMN * len(step_columns(problem_of(config).variables))


def measure_paces(planned: Sequence[PlannedRun], report: Callable[[str], None] = lambda what: None) -> dict[str, Pace]:
    """Time the first few kinds of models that are to be trained, on this machine and few data.

    `report` hears what is being done.
    """
    kinds: dict[str, Config] = {}
    for run in planned:
        if run.action != "skip" and not is_script(run):
            kinds.setdefault(_model_kind(run.config), run.config)
    paces: dict[str, Pace] = {}
    for number, (kind, config) in enumerate(list(kinds.items())[:MOST_MEASURED], 1):
        report(f"measuring how long a step takes here, model {number} of {min(len(kinds), MOST_MEASURED)}")
        paces[kind] = _measure_pace(config)
    # Only the first model's time has the framework's import in it.
    start = max((pace.start for pace in paces.values()), default=0.0)
    return {kind: replace(pace, start=start) for kind, pace in paces.items()}


def _model_kind(config: Config) -> str:
    """What the time of a step depends on most."""
    return config.engine.model_dump_json() + problem_of(config).timed_as


def _measure_pace(config: Config) -> Pace:
    problem = problem_of(config).on_a_sample()
    config = problem.config
    clock = time.perf_counter()
    engines.imported(config.engine.framework, whole=problem.runs_own_code)
    dataset = problem.load()
    engine = engines.build(config, dataset)
    starting = time.perf_counter() - clock
    every = config.recorded_every
    batches = start(config, engine, dataset).take(every * math.ceil(TIMED_STEPS / every))
    first = _seconds(lambda: engine.train_measuring(batches[:every], every))  # compiles, as the first evaluation does
    step = _seconds(lambda: engine.train_measuring(batches, every)) / len(batches)
    first_evaluation, evaluation = _seconds(engine.evaluate), _seconds(engine.evaluate)
    compilation = max(0.0, first - every * step + first_evaluation - evaluation)
    # Where only the data tell how many samples an evaluation sees, the time is that of a whole one.
    scale = TIMED_SAMPLES / dataset.evaluation_samples if problem.evaluation_samples else 1.0
    return Pace(step, evaluation * scale, compilation, starting)


def _seconds(work: Callable[[], Any]) -> float:
    clock = time.perf_counter()
    work()
    return time.perf_counter() - clock
