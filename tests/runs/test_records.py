"""Of so many steps one is recorded: what is trained stays the same, and what was recorded is read rightly."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import call
from own_models import write_problem

from gradclip_cli.config import loading
from gradclip_cli.runs import loop
from gradclip_cli.runs.one import Workshop
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.trainers import Ending, Task

pytestmark = [pytest.mark.trains, pytest.mark.usefixtures("unrendered")]

MODULE = """

def module(units=4):
    from torch import nn
    return nn.Sequential(nn.Linear(4, units), nn.ReLU(), nn.Linear(units, 3))
"""
Workshops = defaultdict[str, Workshop]
EVERY, LENGTH = 3, {"epochs": 2, "steps_per_epoch": 12}
CLIPPING = {"mode": "autoclip", "window": 5}
EXPLOSIVE = {"optimizer": {"name": "sgd", "learning_rate": 1e15}, "clipping": {"mode": "none"}}


@pytest.fixture(scope="module", autouse=True)
def short_chunks_and_checkpoints_often() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        patched.setattr(loop, "CHUNK", 7)  # of which six are taken at a time
        yield


@pytest.fixture(scope="module")
def workshops() -> Workshops:
    """By framework, one whose engine serves all tests of the same rule, whatever they record."""
    return defaultdict(Workshop)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all problems stand, so that their model is the same one."""
    return tmp_path_factory.mktemp("problems")


def problem(folder: Path, framework: str, every: int, **keys: Any) -> Path:
    model = {"factory": "model.py:build" if framework == "tensorflow" else "model.py:module"}
    engine = {"framework": framework, **({"jit": False} if framework == "tensorflow" else {})}
    said = {"model": model, "engine": engine, "training": LENGTH, "clipping": CLIPPING, "records": {"every": every}, **keys}
    return write_problem(folder, MODULE, said.pop("name", f"every-{every}"), **said)


def go(workshops: Workshops, config: Path, results: Path, stop_after: int | None = None) -> tuple[Ending, RunDirectory]:
    chosen, chunks = loading.load(str(config)), itertools.count()
    directory = RunDirectory.of(results, chosen.name, chosen.training.seed)
    task = Task.of(chosen, directory)
    workshop = workshops[chosen.engine.framework]
    return workshop.train(task, lambda event: None, lambda: stop_after is not None and next(chunks) >= stop_after), directory


def content(run: RunDirectory) -> tuple[bytes, bytes]:
    return run.metrics_path.read_bytes(), run.steps_path.read_bytes()


def test_training_is_the_same_and_one_step_in_so_many_is_recorded(
    framework: str, workshops: Workshops, folder: Path, tmp_path: Path
) -> None:
    runs = []
    for every in (1, EVERY):
        ended, run = go(workshops, problem(folder, framework, every), tmp_path / "results")
        assert (ended.status, run.metadata()["every"], run.metadata()["steps"]) == ("complete", every, 24)
        runs.append(run)
    each, some = (pd.read_csv(run.steps_path) for run in runs)
    pd.testing.assert_frame_equal(some, each[EVERY - 1 :: EVERY].reset_index(drop=True), check_exact=True)
    assert some["clipped"].any()
    both = [pd.read_csv(run.metrics_path) for run in runs]
    gradients = ["grad_norm_median", "grad_norm_max", "clipped_fraction"]
    pd.testing.assert_frame_equal(both[0].drop(columns=gradients), both[1].drop(columns=gradients), check_exact=True)
    halves = some.groupby((some["step"] - 1) // 12)
    np.testing.assert_allclose(both[1]["grad_norm_median"], halves["grad_norm"].median(), rtol=1e-5)
    np.testing.assert_allclose(both[1]["grad_norm_max"], halves["grad_norm"].max(), rtol=1e-5)
    np.testing.assert_array_equal(both[1]["clipped_fraction"], halves["clipped"].mean())
    assert set(runs[1].metadata()["clipped_steps"].values()) == {some["clipped"].sum()}


@pytest.mark.parametrize("after", [1, 2, 3])
def test_stopped_it_goes_on_to_the_byte(after: int, framework: str, workshops: Workshops, folder: Path, tmp_path: Path) -> None:
    config = problem(folder, framework, EVERY)
    _, whole = go(workshops, config, tmp_path / "whole")
    stopped, run = go(workshops, config, tmp_path / "parts", stop_after=after)
    assert (stopped.status, run.count_steps(), run.metadata()["steps"]) == ("interrupted", 2 * after, 6 * after)
    ended, _ = go(workshops, config, tmp_path / "parts")
    assert ended.status == "complete"
    assert len(run.metadata()["resumed"]) == 1
    assert content(run) == content(whole)
    assert run.metadata()["clipped_steps"] == whole.metadata()["clipped_steps"]


def test_a_loss_that_is_not_finite_ends_the_run_on_any_step(
    framework: str, workshops: Workshops, folder: Path, tmp_path: Path
) -> None:
    steps = {}
    for every in (1, EVERY):
        ended, run = go(workshops, problem(folder, framework, every, **EXPLOSIVE), tmp_path / "results")
        assert ended.status == "diverged"
        steps[every] = run.metadata()["diverged"]["step"]
        assert run.metadata()["steps"] == steps[every]
        assert run.count_steps() == steps[every] // every
        assert call("show", str(run.path), "--out", str(tmp_path)).exit_code == 0
    assert steps[1] <= steps[EVERY] <= steps[1] + 1, "weights that are not finite are told by the next step's loss"


def test_an_older_run_and_its_checkpoint_are_the_same_arm(workshops: Workshops, folder: Path, tmp_path: Path) -> None:
    config = problem(folder, "tensorflow", 1)
    _, run = go(workshops, config, tmp_path / "results", stop_after=2)
    for path, older in ((run.config_path, yaml.safe_load(run.config_path.read_text())), (run.metadata_path, run.metadata())):
        older.pop("records", None)
        older.pop("every", None)
        older.pop("config_sha256", None)
        path.write_text(yaml.safe_dump(older) if path == run.config_path else json.dumps(older))
    ended, _ = go(workshops, config, tmp_path / "results")
    assert (ended.status, len(run.metadata()["resumed"])) == ("complete", 1)


def test_commands_read_such_runs(workshops: Workshops, folder: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    for rule in ({"mode": "none"}, CLIPPING):
        config = problem(folder, "tensorflow", EVERY, clipping=rule, name=rule["mode"])
        go(workshops, config, results)
    shown = call("show", "autoclip", "--results", str(results), "--out", str(tmp_path))
    assert "one step in 3" in shown.stdout
    assert "of 8 recorded steps, before clipping" in shown.stdout
    listed = call("list", "--results", str(results)).stdout.splitlines()
    assert [line.split()[:4] for line in listed[-2:]] == [[arm, "0", "complete", "24"] for arm in ("autoclip", "none")]
    compared = call("compare", "none", "autoclip", "--results", str(results), "--baseline", "none")
    assert compared.exit_code == 0, compared.stderr
    assert "left out" not in compared.stderr
    exported = call("export", "autoclip", "--results", str(results), "--csv", str(tmp_path / "runs.csv"))
    assert exported.exit_code == 0, exported.stderr
    table = pd.read_csv(tmp_path / "runs.csv")
    losses = table[(table["per"] == "step") & (table["quantity"] == "loss")]
    assert losses["step"].tolist() == list(range(3, 25, 3))
    assert losses["epoch"].tolist() == [1] * 4 + [2] * 4


def test_another_number_is_another_arm(workshops: Workshops, folder: Path, tmp_path: Path) -> None:
    config = problem(folder, "tensorflow", EVERY)
    go(workshops, config, tmp_path / "results")
    ended = call("run", str(problem(folder, "tensorflow", 2, name="every-3")), "--results", str(tmp_path / "results"))
    assert ended.exit_code != 0
    assert "records.every: 3 there, 2 here" in ended.stderr
