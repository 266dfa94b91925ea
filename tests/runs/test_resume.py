"""Stopped, killed or hit by a fault at any moment, a run goes on and ends with the bytes of one that never was."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from conftest import FRAMEWORKS, UNCOMPILED, latest, needs_pytorch, options, slow_cases

from gradclip_cli.config import loading
from gradclip_cli.config.schema import Config
from gradclip_cli.runs import csv_files, loop, store
from gradclip_cli.runs.one import Workshop
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.trainers import Ending, Event, Task

pytestmark = pytest.mark.trains

SETTINGS = (
    "data.subset=sample",
    "data.pool=4",  # short sequences: what is asked is whether a run goes on, whatever it trains
    "name=resumed",
    "training.epochs=3",
    "training.steps_per_epoch=30",
    "clipping={mode: autoclip, window: 50}",
)
CHUNKS = 6  # 25 and 5 steps an epoch, three epochs


class OneFramework(Workshop):
    """Trains everything with the same framework."""

    def __init__(self, framework: str) -> None:
        super().__init__()
        self.framework = framework


@pytest.fixture(scope="module", params=FRAMEWORKS)
def workshop(request: pytest.FixtureRequest) -> OneFramework:
    """One engine for all of a framework's tests: what a run leaves in it must not reach the next."""
    return OneFramework(request.param)


only_tensorflow = pytest.mark.parametrize("workshop", ["tensorflow"], indirect=True)


@pytest.fixture(autouse=True, scope="module")
def short_chunks_and_checkpoints_often() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        patched.setattr(loop, "CHUNK", 25)
        yield


def chosen(*settings: str) -> Config:
    return loading.load("none", latest(*SETTINGS, *settings))


def go(
    workshop: OneFramework, path: Path, *, stop_after: int | None = None, settings: tuple[str, ...] = (), **task: Any
) -> Ending:
    """Train or go on in `path`, asked to stop after some chunks; what is remarked stands in the events' list."""
    chunks = itertools.count()
    events.clear()
    directory = RunDirectory(path / "resumed" / "seed-0")
    return workshop.train(
        Task.of(chosen(f"engine.framework={workshop.framework}", *settings), directory, **task),
        events.append,
        lambda: stop_after is not None and next(chunks) >= stop_after,
    )


events: list[Event] = []


def remarks() -> str:
    return "; ".join(event.message for event in events if event.kind == "remark")


def content(path: Path) -> tuple[bytes, bytes]:
    run = path / "resumed" / "seed-0"
    return (run / "metrics.csv").read_bytes(), (run / "steps.csv").read_bytes()


@pytest.fixture(scope="module")
def whole(workshop: OneFramework, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that was never interrupted."""
    path = tmp_path_factory.mktemp("whole")
    assert go(workshop, path).status == "complete"
    return path


@pytest.mark.parametrize("after", range(CHUNKS))
def test_stopped_after_any_chunk_it_goes_on_to_the_byte(after: int, workshop: OneFramework, whole: Path, tmp_path: Path) -> None:
    assert go(workshop, tmp_path, stop_after=after).status == "interrupted"
    run = RunDirectory(tmp_path / "resumed" / "seed-0")
    assert run.status() == "interrupted"
    steps = [0, 25, 30, 55, 60, 85][after]
    assert len(run.steps_path.read_text().splitlines()) == steps + 1
    assert go(workshop, tmp_path).status == "complete"
    assert remarks() == f"goes on from step {steps:,}"
    assert content(tmp_path) == content(whole)
    assert not run.checkpoint_path.exists()
    metadata, uninterrupted = run.metadata(), RunDirectory(whole / "resumed" / "seed-0").metadata()
    for key in ("status", "epochs", "steps", "largest_applied", "clipped_steps", "overflows", "metrics_sha256"):
        assert metadata[key] == uninterrupted[key]
    assert metadata["health"]["spikes"] == uninterrupted["health"]["spikes"]
    assert len(metadata["resumed"]) == 1


def test_stopped_again_and_again(workshop: OneFramework, whole: Path, tmp_path: Path) -> None:
    while go(workshop, tmp_path, stop_after=1).status == "interrupted":
        pass
    assert content(tmp_path) == content(whole)


def test_rows_beyond_the_checkpoint_are_cut_off(workshop: OneFramework, whole: Path, tmp_path: Path) -> None:
    """As a kill between a chunk's rows and the next checkpoint leaves them, the last one torn."""
    go(workshop, tmp_path, stop_after=3)
    run = RunDirectory(tmp_path / "resumed" / "seed-0")
    with open(run.steps_path, "a") as steps, open(run.metrics_path, "a") as metrics:
        steps.write("56,2.1,0,7\n57,2.")
        metrics.write("2,1.9,0.5")
    assert go(workshop, tmp_path).status == "complete"
    assert content(tmp_path) == content(whole)


@only_tensorflow
@pytest.mark.parametrize(
    ("file", "damage", "remark"),
    [
        ("checkpoint.npz", lambda path: os.truncate(path, path.stat().st_size // 2), "starts over: its checkpoint can't be read"),
        ("checkpoint.npz", lambda path: os.truncate(path, 0), "starts over: its checkpoint can't be read"),
        ("checkpoint.npz", lambda path: flip(path), "starts over: its checkpoint can't be read"),
        ("checkpoint.npz", lambda path: path.unlink(), ""),
        ("steps.csv", lambda path: os.truncate(path, path.stat().st_size - 100), "starts over: steps.csv is shorter"),
        ("steps.csv", lambda path: path.unlink(), "starts over: steps.csv is shorter"),
        ("metrics.csv", lambda path: os.truncate(path, 10), "starts over: metrics.csv is shorter"),
        ("run.json", lambda path: os.truncate(path, 20), "goes on from step 55"),
        ("run.json", lambda path: path.unlink(), "goes on from step 55"),
        ("config.yaml", lambda path: path.unlink(), "goes on from step 55"),
    ],
)  # fmt: skip
def test_damaged_files(file: str, damage: Any, remark: str, workshop: OneFramework, whole: Path, tmp_path: Path) -> None:
    go(workshop, tmp_path, stop_after=3)
    damage(tmp_path / "resumed" / "seed-0" / file)
    assert go(workshop, tmp_path).status == "complete"
    assert remarks().startswith(remark)
    assert bool(remarks()) == bool(remark)
    assert content(tmp_path) == content(whole)


@only_tensorflow
def test_rows_are_never_longer_than_the_header(workshop: OneFramework, whole: Path, tmp_path: Path) -> None:
    """A run that was begun before `steps.csv` had its last column starts over."""
    go(workshop, tmp_path, stop_after=3)
    run = RunDirectory(tmp_path / "resumed" / "seed-0")
    run.steps_path.write_text("".join(f"{line.rsplit(',', 1)[0]}\n" for line in run.steps_path.read_text().splitlines()))
    older = run.steps_path.read_bytes()
    forged(lengths=lambda lengths: [lengths[0], len(older)], sha256=lambda sums: [sums[0], hashlib.sha256(older).hexdigest()])(
        run.checkpoint_path
    )
    assert go(workshop, tmp_path).status == "complete"
    assert remarks() == "starts over: another version of gradclip began it, whose steps.csv has other columns"
    assert content(tmp_path) == content(whole)


def forged(**changes: Any) -> Any:
    """A checkpoint of this run, whole and with the right facts, but with other arrays: None takes one away."""

    def forge(path: Path) -> None:
        with np.load(path) as file:
            arrays = dict(file)
        for name, value in changes.items():
            found = [key for key in arrays if key.endswith(name)]
            for key in found:
                if value is None:
                    del arrays[key]
                else:
                    arrays[key] = np.asarray(value(arrays[key]))
            assert found
        np.savez(path, **arrays)

    return forge


@pytest.mark.parametrize(
    "workshop", ["tensorflow", pytest.param("pytorch", marks=[needs_pytorch, pytest.mark.slow])], indirect=True
)
@pytest.mark.parametrize(
    "forge",
    [
        forged(counts=None),
        forged(counts=lambda counts: counts + 1),
        forged(counts=lambda counts: counts * 10**9),
        forged(counts=lambda counts: "x"),
        forged(number=lambda number: number + 1),
        forged(number=lambda number: -number),
        forged(loss=lambda loss: loss[:-1]),
        forged(kernel=lambda kernel: kernel[:, :1]),
        forged(kernel=lambda kernel: kernel.astype(np.float64)),
        forged(kernel=None),
        forged(identity=lambda whose: "0" * 64),
    ],
)
def test_a_checkpoint_that_fails_its_check_starts_over(forge: Any, workshop: OneFramework, whole: Path, tmp_path: Path) -> None:
    go(workshop, tmp_path, stop_after=3)
    forge(tmp_path / "resumed" / "seed-0" / "checkpoint.npz")
    assert go(workshop, tmp_path).status == "complete"
    assert remarks().startswith("starts over: its checkpoint")
    assert content(tmp_path) == content(whole)


def test_another_runs_checkpoint_is_not_gone_on_from(workshop: OneFramework, whole: Path, tmp_path: Path) -> None:
    go(workshop, tmp_path / "other", stop_after=3, settings=("training.seed=7",))
    go(workshop, tmp_path / "mine", stop_after=3)
    other, mine = (tmp_path / name / "resumed" / "seed-0" / "checkpoint.npz" for name in ("other", "mine"))
    mine.write_bytes(other.read_bytes())
    assert go(workshop, tmp_path / "mine").status == "complete"
    assert remarks() == "starts over: its checkpoint is another run's"
    assert content(tmp_path / "mine") == content(whole)


def flip(path: Path) -> None:
    """Change one byte in the middle of an array."""
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 3] ^= 0xFF
    path.write_bytes(damaged)


class FullDisk:
    """Fails with ENOSPC at the n-th time that the store writes to a CSV or syncs a file, of which the disk has a part then."""

    def __init__(self, at: int) -> None:
        self.calls, self._at, self._sync = 0, at, os.fsync

    def fsync(self, descriptor: int) -> None:
        self._count(descriptor)
        self._sync(descriptor)

    @contextmanager
    def open(self, path: Path, mode: str) -> Iterator[IO[bytes]]:
        """What `open` is to the module of the CSVs."""
        with open(path, mode) as file:
            yield file
            if mode == "ab":
                file.flush()
                self._count(file.fileno())

    def _count(self, descriptor: int) -> None:
        self.calls += 1
        if self.calls == self._at:
            size = os.fstat(descriptor).st_size
            os.truncate(descriptor, max(0, size - 7))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@only_tensorflow
def test_a_full_disk_at_every_write(workshop: OneFramework, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for at in itertools.count(1):
        disk = FullDisk(at)
        monkeypatch.setattr(store.os, "fsync", disk.fsync)
        monkeypatch.setattr(csv_files, "open", disk.open, raising=False)
        ended = go(workshop, tmp_path / str(at))
        monkeypatch.undo()
        if disk.calls < at:
            assert ended.status == "complete"
            break
        assert ended.status == "failed"
        assert "No space left" in ended.message
        assert RunDirectory(tmp_path / str(at) / "resumed" / "seed-0").status() != "complete"
        again = go(workshop, tmp_path / str(at))
        assert again.status == "complete", again.message
        assert content(tmp_path / str(at)) == content(whole), f"write {at}"
    assert at > 15


def test_a_finished_run_that_kept_its_checkpoint_goes_on(workshop: OneFramework, whole: Path, tmp_path: Path) -> None:
    assert go(workshop, tmp_path, settings=("training.epochs=2",), keep_checkpoint=True).status == "complete"
    assert go(workshop, tmp_path).status == "complete"
    assert remarks() == "goes on from step 60"
    assert content(tmp_path) == content(whole)


def test_start_over_ignores_the_checkpoint(workshop: OneFramework, whole: Path, tmp_path: Path) -> None:
    go(workshop, tmp_path, stop_after=3)
    go(workshop, tmp_path, force=True)
    assert remarks() == ""
    assert content(tmp_path) == content(whole)


@pytest.mark.parametrize(
    ("workshop", "optimizer"),
    [
        ("tensorflow", "{name: adam}"),
        *slow_cases(("tensorflow", "{name: schedulefreeadamw}"), ("tensorflow", "{name: sgd, momentum: 0.9}")),
        pytest.param("pytorch", "{name: adam, amsgrad: true}", marks=needs_pytorch),
        pytest.param("pytorch", "{name: rmsprop, centered: true, momentum: 0.9}", marks=needs_pytorch),
        pytest.param("pytorch", "{name: sgd, momentum: 0.9}", marks=needs_pytorch),
    ],
    indirect=["workshop"],
)
def test_optimizer_slots_go_on(workshop: OneFramework, optimizer: str, tmp_path: Path) -> None:
    uncompiled = UNCOMPILED[workshop.framework]
    settings = (f"optimizer={optimizer}", *uncompiled, "training.epochs=2", "training.steps_per_epoch=5")
    go(workshop, tmp_path / "whole", settings=settings)
    go(workshop, tmp_path / "parts", settings=settings, stop_after=1)
    go(workshop, tmp_path / "parts", settings=settings)
    assert content(tmp_path / "whole") == content(tmp_path / "parts")


def test_a_run_that_diverges_after_it_went_on(workshop: OneFramework, tmp_path: Path) -> None:
    settings = (
        "model={cell: simple_rnn, units: 32, activation: relu}", "optimizer.learning_rate=0.1", "clipping={mode: none}",
        "training.epochs=5", "training.steps_per_epoch=100", *UNCOMPILED[workshop.framework], "training.seed=1",
        "data.pool=1",  # 28 rows, over which the gradients grow
    )  # fmt: skip
    ended = go(workshop, tmp_path / "whole", settings=settings)
    assert ended.status == "diverged"
    assert go(workshop, tmp_path / "parts", settings=settings, stop_after=1).status == "interrupted"
    assert go(workshop, tmp_path / "parts", settings=settings).message == ended.message
    assert content(tmp_path / "whole") == content(tmp_path / "parts")


COMMAND = (
    "from gradclip_cli.runs import loop\n"
    "loop.CHECKPOINT_SECONDS = 0.0\n"
    "from gradclip_cli.cli import main\n"
    "main(prog_name='gradclip')\n"
)


EPOCHS = {"tensorflow": 8, "uncompiled tensorflow": 3, "pytorch": 3}
HANGS = 900
"""Seconds that no command of these takes, on however busy a machine."""


def start_command(results: Path, how: str) -> subprocess.Popen[bytes]:
    """The real command in a process of its own, with a checkpoint after each epoch."""
    uncompiled, _, framework = how.rpartition(" ")
    longer = (
        *SETTINGS, f"engine.framework={framework}", f"training.epochs={EPOCHS[how]}", "training.steps_per_epoch=300",
        *(UNCOMPILED[framework] if uncompiled else ()),
    )  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "-q", "run", "none", *options(*latest(*longer)), "--results", str(results)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def kill_at_random(results: Path, how: str, seed: int) -> Iterator[int]:
    """Kill the command at a random moment, mostly while it trains, and start it again, until it ends; yields each kill."""
    moments = random.Random(seed)
    for number in itertools.count(1):
        running = start_command(results, how)
        if moments.random() < 0.2:
            time.sleep(moments.uniform(0, 6))
        else:
            wait_for_rows(running, results / "resumed" / "seed-0" / "steps.csv")
            time.sleep(moments.uniform(0, EPOCHS[how] / 2))  # Keras compiles the evaluation, then the epochs
        if running.poll() is None:
            running.send_signal(signal.SIGKILL)
        _, said = running.communicate(timeout=HANGS)
        if running.returncode == 0:
            return
        assert running.returncode == -signal.SIGKILL, said.decode()
        yield number


def let_it_end(results: Path, how: str) -> None:
    """Start the command and leave it alone until it ends well."""
    running = start_command(results, how)
    _, said = running.communicate(timeout=HANGS)
    assert running.returncode == 0, said.decode()


def wait_for_rows(running: subprocess.Popen[bytes], path: Path) -> None:
    """Wait until a running command has added rows."""
    size = None
    while running.poll() is None:
        now = path.stat().st_size if path.exists() else 0
        if size is not None and now > max(size, 1000):
            return
        size = now
        time.sleep(0.005)


MANY = [pytest.mark.slow, pytest.mark.endurance]


@pytest.mark.parametrize(
    ("how", "kills"),
    [
        pytest.param("uncompiled tensorflow", 1, marks=pytest.mark.slow),
        pytest.param("tensorflow", 1, marks=pytest.mark.slow),
        pytest.param("pytorch", 2, marks=[needs_pytorch, pytest.mark.slow]),
        pytest.param("tensorflow", 30, marks=MANY),
        pytest.param("pytorch", 30, marks=[needs_pytorch, *MANY]),
    ],
)
def test_killed_at_random_moments(how: str, kills: int, tmp_path: Path) -> None:
    """Rounds of kills until the run is done, as many rounds as it takes; every round's bytes are compared."""
    let_it_end(tmp_path / "whole", how)
    count = 0
    for number in itertools.count():
        for _ in kill_at_random(tmp_path / str(number), how, seed=number):
            count += 1
            if count % 4 == 0 or count >= kills:  # let it end now and then
                break
        let_it_end(tmp_path / str(number), how)
        assert content(tmp_path / str(number)) == content(tmp_path / "whole")
        assert json.loads((tmp_path / str(number) / "resumed" / "seed-0" / "run.json").read_text())["status"] == "complete"
        if count >= kills:
            return
