"""How long planned runs will take: measured on this machine where asked, else as a machine was once measured."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

from gradclip_cli import data, engines
from gradclip_cli.runner import PlannedRun
from gradclip_cli.schema import Config
from gradclip_cli.training import CHUNK, start


@dataclass(frozen=True)
class Pace:
    """How fast one kind of model trains, in seconds: a step, an evaluation of 10,000 images, a compilation."""

    step: float = 0.0007
    evaluation: float = 0.1
    compilation: float = 4.0


# Measured on two cores of a shared machine with the article's model, rounded up: see results/LOG.md.
USUAL_PACE = Pace()
BYTES_A_STEP = 230
MOST_MEASURED = 3


def estimate(planned: Sequence[PlannedRun], paces: Mapping[str, Pace] | None = None) -> tuple[float, int]:
    """About how many seconds and bytes the runs that are not skipped will take.

    `paces` are those of `measure_paces`; without them a machine like the one once measured is assumed.
    """
    todo = [run.config for run in planned if run.action != "skip"]
    paces = paces or {}
    mean = (
        Pace(*(sum(values) / len(paces) for values in zip(*map(astuple, paces.values()), strict=True))) if paces else USUAL_PACE
    )
    seconds = 0.0
    for config in todo:
        pace, training = paces.get(_model_kind(config), mean), config.training
        seconds += training.epochs * (training.steps_per_epoch * pace.step + pace.evaluation)
    compilations = {engines.compile_key(config): paces.get(_model_kind(config), mean).compilation for config in todo}
    steps = sum(config.training.epochs * config.training.steps_per_epoch for config in todo)
    return seconds + sum(compilations.values()), steps * BYTES_A_STEP


def measure_paces(planned: Sequence[PlannedRun]) -> dict[str, Pace]:
    """Time a few of the kinds of models that are to be trained, on this machine and the shipped sample."""
    kinds = {_model_kind(run.config): run.config for run in reversed(planned) if run.action != "skip"}
    return {kind: _measure_pace(config) for kind, config in list(reversed(kinds.items()))[:MOST_MEASURED]}


def _model_kind(config: Config) -> str:
    """What the time of a step depends on most."""
    return config.model_dump_json(include={"engine": True, "data": {"sequence", "pool", "batch_size"}, "model": True})


def _measure_pace(config: Config) -> Pace:
    sample = config.data.model_copy(update={"subset": "sample", "holdout": 0})
    config = config.model_copy(update={"data": sample})
    dataset = data.load(sample)
    engine = engines.build(config, dataset)
    batches = start(config, engine, dataset).take(CHUNK)
    times = []
    for work in (lambda: engine.train(batches), lambda: engine.train(batches), engine.evaluate, engine.evaluate):
        clock = time.perf_counter()
        work()
        times.append(time.perf_counter() - clock)
    first, again, first_evaluation, evaluation = times
    images = 10_000 / len(dataset.evaluation_images)
    return Pace(again / CHUNK, evaluation * images, first - again + first_evaluation - evaluation)
