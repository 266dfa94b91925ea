"""Estimates of time and space: counted by hand from a pace, and measured on this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, engine_for, store_run

from gradclip_cli import engines
from gradclip_cli.config import loading
from gradclip_cli.config.schema import Config
from gradclip_cli.runs import many, pace
from gradclip_cli.runs.many import PlannedRun
from gradclip_cli.runs.pace import Estimate, Pace
from gradclip_cli.runs.store import RunDirectory

HALF = Pace(step=0.5, evaluation=10.0, compilation=100.0)


def planned(results: Path, *names: str, settings: tuple[str, ...] = (), seeds: tuple[int, ...] = (0,)) -> list[PlannedRun]:
    return many.plan([loading.load(name, settings) for name in names], seeds, results)


def all_at(measured: Pace) -> dict[str, Pace]:
    """Paces by which every kind of model takes this one: what was not measured takes the mean."""
    return {"another kind": measured}


def test_steps_evaluations_and_compilations_by_hand(results: Path) -> None:
    settings = ("training.epochs=3", "training.steps_per_epoch=40")
    runs = planned(results, "none", "clipnorm", settings=settings, seeds=(0, 1))
    expected = pace.estimate(runs, all_at(HALF))
    assert expected.least == expected.most == 4 * 3 * (40 * 0.5 + 10) + 2 * 100  # a compilation for each rule, not for each seed
    assert expected.size == pytest.approx(4 * 3 * 40 * 238, rel=0.01)


def test_an_evaluation_takes_as_long_as_there_are_images(results: Path) -> None:
    def seconds(*settings: str) -> float:
        runs = planned(results, "none", settings=("training.epochs=1", "training.steps_per_epoch=1", *settings))
        return pace.estimate(runs, all_at(Pace(0.0, 10.0, 0.0))).least

    assert seconds() == 10
    assert seconds("data.holdout=5000") == 5
    assert seconds("data.subset=sample") == 1
    assert seconds("data.subset=sample", "data.holdout=500") == 0.5


def test_rates_share_a_compilation_and_finished_runs_take_no_time(results: Path) -> None:
    chosen = [loading.load("none", [f"optimizer.learning_rate={rate}", f"name=rate-{rate}"]) for rate in (0.1, 1)]
    runs = many.plan(chosen, [0, 1], results)
    epochs = chosen[0].training.epochs * (chosen[0].training.steps_per_epoch * 0.5 + 10)
    assert pace.estimate(runs, all_at(HALF)).least == 4 * epochs + 100
    finished = [dataclasses.replace(run, action="skip") for run in runs]
    assert pace.estimate([*finished[:3], runs[3]], all_at(HALF)).least == epochs + 100
    assert pace.estimate(finished, all_at(HALF)) == Estimate(0, 0, 0)
    assert pace.estimate([]) == Estimate(0, 0, 0)


def test_jobs_share_the_runs_but_each_compiles(results: Path) -> None:
    settings = ("training.epochs=1", "training.steps_per_epoch=20")
    runs = planned(results, "none", "clipnorm", settings=settings, seeds=(0, 1))
    paces = all_at(HALF)
    assert pace.estimate(runs, paces, jobs=2).least == 2 * 20 + 100
    assert pace.estimate(runs, paces, jobs=4).least == 20 + 100
    assert pace.estimate(runs, paces, jobs=100) == pace.estimate(runs, paces, jobs=4)  # no more than there are runs
    assert pace.estimate(runs, paces, jobs=2).size == pace.estimate(runs, paces).size


def test_each_worker_starts_and_more_workers_than_cores_gain_nothing(results: Path) -> None:
    settings = ("training.epochs=1", "training.steps_per_epoch=20")
    runs = planned(results, "none", settings=settings, seeds=(0, 1, 2, 3))
    paces = all_at(dataclasses.replace(HALF, start=7.0))
    assert pace.estimate(runs, paces).least == 4 * 20 + 100  # in this process, which started to measure
    assert pace.estimate(runs, jobs=1).least > pace.USUAL_PACES["tensorflow"].start  # not measured: it starts yet
    assert pace.estimate(runs, paces, jobs=2).least == 2 * 20 + 100 + 7
    assert pace.estimate(runs, paces, jobs=4, cores=2).least == 2 * (20 + 100 + 7)


def test_the_range_is_about_who_compiles_what(results: Path) -> None:
    settings = ("training.epochs=1", "training.steps_per_epoch=20")
    one = planned(results, "none", settings=settings, seeds=tuple(range(8)))
    alone = pace.estimate(one, all_at(HALF), jobs=2)
    assert alone.least == alone.most == 4 * 20 + 100  # both compile the only kind
    three = planned(results, "none", "clipnorm", "clipvalue", settings=settings, seeds=tuple(range(8)))
    between = pace.estimate(three, all_at(HALF), jobs=2)
    assert between.least == 12 * 20 + 150  # one worker compiles two kinds, the other one; or each two
    assert between.most == 12 * 20 + 200


def test_a_kind_takes_its_own_pace_and_one_that_was_not_measured_the_mean(
    results: Path, monkeypatch: pytest.MonkeyPatch, stand_in: Callable[..., Any]
) -> None:
    monkeypatch.setattr(engines, "build", stand_in)
    runs = planned(results, "none", "explode/none", settings=("training.epochs=1", "training.steps_per_epoch=10"))
    one, other = pace.measure_paces(runs)
    assert pace.estimate(runs, {one: Pace(1.0, 0.0, 0.0)}).least == 20
    assert pace.estimate(runs, {one: Pace(1.0, 0.0, 0.0), other: Pace(3.0, 0.0, 0.0)}).least == 40
    usual = pace.USUAL_PACES["tensorflow"]
    assert pace.estimate(runs).least == pytest.approx(2 * (10 * usual.step + usual.evaluation + usual.compilation) + usual.start)


def test_a_deeper_model_writes_more(results: Path) -> None:
    short = ("training.epochs=1", "training.steps_per_epoch=10")
    one, two = (
        pace.estimate(planned(results, "none", settings=(*short, units))).size
        for units in ("model.units=10", "model.units=[10,10]")
    )
    assert two / one == pytest.approx(40 / 28, rel=0.01)


def test_bytes_are_about_those_of_a_real_run(results: Path) -> None:
    """Six significant digits and a comma: what real norms take."""
    chosen = loading.load("none", SMALL)
    directory = RunDirectory.of(results, "none", 0)
    with directory.locked():
        directory.start(chosen, ["lstm/kernel", "lstm/recurrent_kernel", "lstm/bias", "dense/kernel", "dense/bias"], {})
        header = directory.steps_path.stat().st_size
        directory.append_steps([step, 2.30258, 0.0, 8, 0.123456, 0.123456, 1, *[0.0123456] * 21] for step in range(1, 101))
    runs = planned(results / "other", "none", settings=("training.epochs=1", "training.steps_per_epoch=100"))
    assert pace.estimate(runs).size == pytest.approx(directory.steps_path.stat().st_size - header, rel=0.2)


def pace_of(chosen: Config) -> Pace:
    """What is measured for one config."""
    (measured,) = pace.measure_paces([PlannedRun(chosen, RunDirectory(Path("nowhere")), "train", "")]).values()
    return measured


def test_only_kinds_that_are_to_be_trained_are_measured(
    results: Path, monkeypatch: pytest.MonkeyPatch, stand_in: Callable[..., Any]
) -> None:
    timed: list[str] = []
    monkeypatch.setattr(engines, "build", lambda chosen, dataset: timed.append(chosen.name) or stand_in(chosen, dataset))
    runs = planned(results, "none", "clipnorm", "explode/none", "explode/clipnorm", "adam/none")
    runs = [dataclasses.replace(run, action="skip") if run.config.name == "none" else run for run in runs]
    told: list[str] = []
    assert len(pace.measure_paces(runs, told.append)) == 2
    assert [what.rpartition(", ")[2] for what in told] == ["model 1 of 2", "model 2 of 2"]
    assert timed == ["clipnorm", "explode-none"]  # neither the rule nor the optimizer makes a kind
    timed.clear()
    pace.measure_paces(
        [PlannedRun(loading.load("none", [f"model.units={units}"]), runs[0].directory, "train", "") for units in range(1, 9)]
    )
    assert len(timed) == pace.MOST_MEASURED


def test_a_pace_is_measured_on_the_sample_and_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engine and clock stand in: steps of 2 ms, evaluations of 30 ms, and half a second to compile each at its first use."""
    seconds, steps, evaluations = [0.0], [], []

    class Engine:
        variables = ("lstm/kernel",)

        def initial_weights(self, config: Any) -> None: ...

        def reset(self, weights: Any, *, learning_rate: float) -> None: ...

        def train_measuring(self, batches: Any, every: int) -> None:
            seconds[0] += 0.002 * len(batches) + 0.5 * (not steps)
            steps.append(len(batches))

        def evaluate(self) -> None:
            seconds[0] += 0.03 + 0.5 * (not evaluations)
            evaluations.append(1)

    monkeypatch.setattr(pace.time, "perf_counter", lambda: seconds[0])
    monkeypatch.setattr(engines, "build", lambda chosen, dataset: Engine())
    measured = pace_of(loading.load("none"))
    assert measured.step == pytest.approx(0.002)
    assert measured.evaluation == pytest.approx(0.3)  # a tenth of the images were timed
    assert measured.compilation == pytest.approx(1.0)
    assert sum(steps) <= 100


@pytest.mark.trains
def test_a_real_engine_s_pace_is_sane(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_for(loading.load("none", ("data.subset=sample",)))
    monkeypatch.setattr(engines, "build", lambda chosen, dataset: engine)
    measured = pace_of(loading.load("none"))
    assert 1e-6 < measured.step < 0.1
    assert 1e-4 < measured.evaluation < 30
    assert measured.compilation >= 0


def test_a_batch_larger_than_the_sample_can_be_timed(monkeypatch: pytest.MonkeyPatch, stand_in: Callable[..., Any]) -> None:
    monkeypatch.setattr(engines, "build", stand_in)
    assert pace_of(loading.load("none", ("data.batch_size=6000",))).step >= 0


@pytest.fixture
def stand_in() -> Callable[..., Any]:
    class Instant:
        variables = ("lstm/kernel",)
        initial_weights = reset = train_measuring = evaluate = lambda self, *given, **named: None

    return lambda chosen, dataset: Instant()


def test_stored_runs_shorten_the_estimate(results: Path) -> None:
    store_run(results, "none", 0, [2.0, 1.5, 1.0])
    settings = ("training.epochs=3", "training.steps_per_epoch=4")
    runs = planned(results, "none", settings=("name=none", *settings), seeds=(0, 1))
    assert [run.action for run in runs] == ["skip", "train"]
    assert pace.estimate(runs, all_at(HALF)).least == 3 * (4 * 0.5 + 10) + 100
