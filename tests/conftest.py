"""Shared fixtures: small configs on the shipped sample, engines built once, and a way to start the real command."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gradclip_cli import config, data, engines, weights
from gradclip_cli.schema import Config

SMALL = ("data.subset=sample", "training.epochs=2", "training.steps_per_epoch=6")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@functools.cache
def sample() -> data.Dataset:
    return data.load(config.load("none", SMALL).data)


@functools.cache
def _engine(key: str, chosen: Config) -> engines.Engine:
    return engines.build(chosen, data.load(chosen.data))


def engine_for(chosen: Config) -> engines.Engine:
    """An engine that was reset for a config; one compilation serves all tests that can share it."""
    engine = _engine(
        engines.compile_key(chosen), chosen.model_copy(update={"name": "any", "training": Config(name="any").training})
    )
    engine.reset(start_weights(chosen), learning_rate=chosen.optimizer.learning_rate)
    return engine


def start_weights(chosen: Config) -> dict[str, weights.FloatArray]:
    return weights.initial_weights(chosen.model, features=28, classes=data.CLASSES, seed=chosen.training.seed)


def schedule_for(chosen: Config) -> data.BatchSchedule:
    samples = len(data.load(chosen.data).train_images) if chosen.data.subset == "sample" else 60_000
    return data.BatchSchedule(
        chosen.training.seed,
        samples=samples,
        batch_size=chosen.data.batch_size,
        shuffle_buffer=chosen.data.shuffle_buffer,
    )


def gradclip(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "gradclip_cli", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
