"""Shared fixtures: small configs on the shipped sample, engines built once, and a way to start the real command."""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import settings

from gradclip_cli import engines
from gradclip_cli.arrays import ByteArray, FloatArray
from gradclip_cli.cli import main
from gradclip_cli.config import loading
from gradclip_cli.config.article import Data
from gradclip_cli.config.schema import Config
from gradclip_cli.engines.contract import Engine
from gradclip_cli.engines.importing import import_apart
from gradclip_cli.errors import ConfigError
from gradclip_cli.gradients.clipping_rule import ClippingRule
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.problems import article_weights, idx_files
from gradclip_cli.problems.batches import BatchSchedule
from gradclip_cli.problems.contract import Dataset
from gradclip_cli.runs.csv_files import metric_columns
from gradclip_cli.runs.store import RunDirectory

# Whatever else the machine does, a property is no less true for taking longer.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# A shell without job control has what it starts in the background ignore Ctrl-C, and all that this starts too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests of both frameworks, and of what else uses PyTorch, share processes.
import_apart("triton")

# Where two processes are to leave the same bytes, both compile; and nobody's cache is touched. test_compiled.py has its own.
os.environ["GRADCLIP_COMPILED"] = "off"

# Worker processes take seconds to start; the tests that are about them ask for some.
os.environ["GRADCLIP_JOBS"] = "1"

SMALL = ("data.subset=sample", "training.epochs=2", "training.steps_per_epoch=6")


ARTICLE = Path(__file__).parents[1] / "results" / "article"
PRIMARY = {"none": "67.7", "clipnorm": "68.5", "clipvalue": "69.1"}
"""Arms of it, and the accuracies that a comparison of them shows, in percent."""


def latest(*settings: str) -> list[str]:
    """Settings of which a later one replaces an earlier one of the same key; a config refuses both."""
    return list({setting.partition("=")[0]: setting for setting in settings}.values())


def rule_with(mode: str, **settings: float) -> ClippingRule:
    """A clipping rule with those of the settings that it has."""
    return RULES[mode].model_validate({key: value for key, value in settings.items() if key in RULES[mode].model_fields})


NO_PYTORCH = "PyTorch is not installed (make install-pytorch)"
# Where CI is set, a missing PyTorch fails: tests that nobody sees skipped hold nothing.
MAY_SKIP_PYTORCH = os.environ.get("CI") != "true"
needs_pytorch = pytest.mark.skipif(MAY_SKIP_PYTORCH and not importlib.util.find_spec("torch"), reason=NO_PYTORCH)
FRAMEWORKS = ["tensorflow", pytest.param("pytorch", marks=needs_pytorch)]


def slowly(*values: Any) -> list[Any]:
    """Parameters that `make test` leaves to `make test-all`."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def slow_cases(*cases: tuple[Any, ...]) -> list[Any]:
    """The same for several parameters at a time."""
    return [pytest.param(*case, marks=pytest.mark.slow) for case in cases]


# Files of tests that can use each other's engines, each of which Keras compiles for seconds.
SAME_ENGINES = ("test_engines", "test_engine_tensorflow", "test_loop", "test_health", "test_suggest", "test_pace")
# What is not about compiling goes without. PyTorch has nothing to compile.
QUICKEST = "pytorch" if importlib.util.find_spec("torch") else "tensorflow"
"""The framework for processes that are about something else: what takes less to import."""
UNRELATED = "ignore::pytest.PytestUnraisableExceptionWarning"
"""What a test on warnings doesn't ask for: files of earlier tests that are collected, and closed, while it runs."""
UNCOMPILED: dict[str, tuple[str, ...]] = {"tensorflow": ("engine.jit=false",), "pytorch": ("engine.framework=pytorch",)}


@pytest.hookimpl(optionalhook=True)  # as long as xdist is there
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests run in one process; so do those of all files that train with the same engines."""
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "engines" if Path(file).stem in SAME_ENGINES else file

    return Together(config, log)


def pytest_collection_finish() -> None:
    """Frameworks and tests are millions of objects: to look through them for garbage again and again takes long."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_sessionfinish() -> None:
    """The same where pytest itself collects garbage five times at the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    """Each framework in turn; a test that asks for it holds for all of them."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


Writer = Callable[..., Path]


@pytest.fixture
def write_config(tmp_path: Path) -> Writer:
    def write(text: str, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def mistakes(path: Path | str, *settings: str) -> list[str]:
    """What is told of a config that can't be loaded."""
    with pytest.raises(ConfigError) as caught:
        loading.load(str(path), settings)
    assert caught.value.exit_code == 2
    return list(caught.value.problems)


def import_pytorch() -> Any:
    """PyTorch for a file or test that is about nothing else; skips it like `needs_pytorch`."""
    return pytest.importorskip("torch", reason=NO_PYTORCH) if MAY_SKIP_PYTORCH else importlib.import_module("torch")


def skip_without(*packages: str) -> None:
    """Leave out a file's tests where one of these packages is not installed. None is imported: some take seconds."""
    if missing := [package for package in packages if not importlib.util.find_spec(package)]:
        pytest.skip(f"{', '.join(missing)} not installed (make install-all)", allow_module_level=True)


def sample() -> Dataset:
    return data_of(loading.load("none", SMALL).data)


_ENGINES: dict[str, Engine] = {}
_build = engines.build


def build_once(chosen: Config, dataset: Dataset) -> Engine:
    """`engines.build`, but one compilation serves all tests that can share it."""
    key = engines.compile_key(chosen)
    if key not in _ENGINES:
        _ENGINES[key] = _build(chosen, dataset)
    return _ENGINES[key]


@pytest.fixture(scope="module")
def engines_built_once() -> Iterator[None]:
    """Let gradclip itself build its engines so, for a file whose tests are not about that."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(engines, "build", build_once)
        yield


@functools.cache
def data_of(data: Data) -> Dataset:
    """A dataset, read once for all tests of a process."""
    return idx_files.load(data)


def engine_for(chosen: Config) -> Engine:
    """An engine that was reset for a config."""
    engine = build_once(chosen, data_of(chosen.data))
    engine.reset(start_weights(chosen), learning_rate=chosen.optimizer.learning_rate)
    return engine


def start_weights(chosen: Config) -> dict[str, FloatArray]:
    return article_weights.initial_weights(
        chosen.model, features=chosen.data.sequence_shape[1], classes=chosen.data.published.classes, seed=chosen.training.seed
    )


def seen_of(chosen: Config, images: ByteArray) -> FloatArray:
    """What a model sees of images (N, 28, 28), by NumPy: squares of pixels averaged, then rows or pixels; (N, time, features)."""
    side = 28 // chosen.data.pool
    averaged = images.reshape(-1, side, chosen.data.pool, side, chosen.data.pool).mean(axis=(2, 4))
    return averaged.reshape(-1, *chosen.data.sequence_shape) / chosen.data.scale


def schedule_for(chosen: Config) -> BatchSchedule:
    samples = len(data_of(chosen.data).train_inputs) if chosen.data.subset == "sample" else 60_000
    return BatchSchedule(
        chosen.training.seed,
        samples=samples,
        batch_size=chosen.data.batch_size,
        shuffle_buffer=chosen.data.shuffle_buffer,
    )


def call(*arguments: str) -> Result:
    """Run the command in this process: quicker, for what needs no process of its own."""
    return CliRunner().invoke(main, arguments)


def command(name: str) -> click.Command:
    """One of the commands, by its name."""
    found = main.get_command(click.Context(main), name)
    assert found
    return found


def options(*settings: str) -> list[str]:
    """Settings as the command takes them."""
    return [part for setting in settings for part in ("--set", setting)]


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


def wait_until(true: Callable[[], Any], seconds: float = 120) -> None:
    """Wait for what another process does; raises AssertionError where it doesn't."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def tree(folder: Path) -> set[str]:
    """All that is in a folder, by paths relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def contents(folder: Path, *names: str) -> dict[str, bytes]:
    """What the files of a folder hold that have one of these names, such as *.csv."""
    files = {path for name in names or ("*",) for path in folder.rglob(name) if path.is_file()}
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}


FACTS: dict[str, Any] = {
    "versions": {"tensorflow": "2.21"},
    "machine": {"system": "s", "processor": "a"},
    "dataset_sha256": "x",
    "evaluation_split": "test",
}


Scores = Mapping[str, tuple[bool, Callable[[float], float]]]
ACCURACY: Scores = {"accuracy": (True, lambda loss: 1 - loss / 3)}


@functools.cache
def loaded_once(base: str, *settings: str) -> Config:
    """A shipped config with settings: what many stored runs share."""
    return loading.load(base, settings)


def store_run(
    results: Path, arm: str, seed: int, losses: list[float], *, status: str = "complete", epochs: int = 3, **changes: Any
) -> RunDirectory:
    """Store a run of made-up figures through the real store: what a report says of them is then known.

    `scores` are metrics in place of accuracy: by name, whether higher is better and what they are at a loss.
    """
    settings, clipped_fraction = changes.pop("settings", []), changes.pop("clipped_fraction", 0.25)
    scores: Scores = changes.pop("scores", ACCURACY)
    if scores is not ACCURACY:
        changes["metrics"] = {name: {"higher_is_better": higher} for name, (higher, _) in scores.items()}
        changes.setdefault("counts_correct", "accuracy" in scores)
    facts = {name: changes[name] for name in ("metrics", "counts_correct") if name in changes}
    said = latest(f"name={arm}", f"training.epochs={epochs}", "training.steps_per_epoch=4", *settings)
    chosen = loaded_once(changes.pop("base", "none"), *said).with_seed(seed)
    directory = RunDirectory.of(results, arm, seed)
    with directory.locked(), pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)  # no test's power fails, and a test may store hundreds of runs
        directory.start(chosen, ["lstm/kernel"], facts)
        for epoch, loss in enumerate(losses, 1):
            evaluated = loss + 0.1
            trained, tested = ([at(value) for _, at in scores.values()] for value in (loss, evaluated))
            tested = [0.9 - loss / 3] if scores is ACCURACY else tested
            values = (epoch, loss, *trained, evaluated, *tested, loss, 10 * loss, clipped_fraction)
            directory.append_metrics(dict(zip(metric_columns(scores), values, strict=True)))
            steps = range(4 * (epoch - 1) + 1, 4 * epoch + 1)
            counted = [8] if facts.get("counts_correct", True) else []
            directory.append_steps(
                [step, loss, 0.0, *counted, loss * step, loss, step % 2, 1.0, 1.0, 1.0, 1.0, 0.01 * loss] for step in steps
            )
        ended = {"arm": arm, "seed": seed, "status": status, "epochs": len(losses), "steps": 4 * len(losses)}
        ended |= {
            "config_sha256": directory.config_sha256(),
            "metrics_sha256": directory.metrics_sha256(),
            "steps_sha256": directory.steps_sha256(),
        }
        if status == "diverged":
            ended["diverged"] = {"epoch": len(losses) + 1, "step": 4 * len(losses), "told": "loss not finite"}
        directory.write_metadata({**FACTS, **ended, **changes})
    return directory


@pytest.fixture
def unrendered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are composed, and their files made, but nothing is rendered, which takes most of a comparison's time.

    A file that uses this for all of its tests marks those that look at a picture as `rendered`.
    """

    def save(figure: object, paths: Sequence[Path]) -> None:
        for path in paths:
            path.write_bytes(b"")

    if not request.node.get_closest_marker("rendered"):
        monkeypatch.setattr("gradclip_cli.plots.save", save)


@pytest.fixture
def two_arms(results: Path) -> Path:
    """Two arms of three seeds: none and clipvalue."""
    for seed in range(3):
        store_run(results, "none", seed, [2.0, 1.5, 1.0 + 0.1 * seed])
        store_run(results, "clipvalue", seed, [2.0, 1.4, 0.9 + 0.1 * seed], base="clipvalue")
    return results


@pytest.fixture(scope="session")
def three_arms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three arms of six seeds, to be read only: none, clipnorm and explode-none."""
    results = tmp_path_factory.mktemp("stored") / "results"
    for arm, shift in (("none", 0.0), ("clipnorm", -0.2), ("explode-none", 0.3)):
        for seed in range(6):
            store_run(results, arm, seed, [2.0 + shift, 1.5 + shift + seed / 50, 1.0 + shift + seed / 100])
    return results
