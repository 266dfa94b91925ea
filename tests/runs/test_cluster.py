"""A real Dask scheduler and two workers on loopback: the same bytes, whoever is killed, and faults that say what to do."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FRAMEWORKS, SMALL, UNCOMPILED, call, contents, latest, options, wait_until

from gradclip_cli.config import loading
from gradclip_cli.errors import ClusterError, ConflictError
from gradclip_cli.runs import cluster, many
from gradclip_cli.runs.many import Execution
from gradclip_cli.runs.one import Workshop
from gradclip_cli.runs.store import MODEL_FILES, runs
from gradclip_cli.runs.trainers import Ending, Task

pytestmark = pytest.mark.trains

pytest.importorskip("distributed", reason="needs gradclip-cli[cluster]")

QUICK = (*SMALL, *UNCOMPILED["tensorflow"], "data.pool=4")
LONG = ("training.epochs=4", "training.steps_per_epoch=250")
ENDLESS = ("training.epochs=4000", "training.steps_per_epoch=250")


class Loopback:
    """A scheduler with workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        arguments = ["--host", "127.0.0.1", "--port", port, "--no-dashboard"]
        self.scheduler = self._start("scheduler", *arguments)
        self.workers = {name: self.start_worker(name) for name in ("first", "second")}

    def start_worker(self, name: str) -> subprocess.Popen[bytes]:
        local = self.folder / name
        local.mkdir()
        arguments = ["--name", name, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(local)]
        return self._start("worker", self.address, "--host", "127.0.0.1", *arguments)

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with open(self.folder / "log", "a") as log:
            return subprocess.Popen([sys.executable, "-m", "dask", *arguments], stdout=log, stderr=log, cwd=self.folder)

    def training(self) -> list[str]:
        """The workers that are past a run's first steps."""
        written = {path: path.stat().st_size for path in self.folder.glob("*/**/steps.csv") if path.exists()}
        begun = {path.relative_to(self.folder).parts[0] for path, size in written.items() if size > 20_000}
        return sorted(begun & self.workers.keys())

    def close(self) -> None:
        for process in (*self.workers.values(), self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    started = Loopback(tmp_path_factory.mktemp("cluster"))
    yield started
    started.close()


class Seen:
    """Keeps what an observer is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def preparing(self, run: many.PlannedRun, what: str) -> None:
        self.told.append(what)

    def standing(self, run: many.PlannedRun, where: str) -> None:
        pass

    def remarked(self, run: many.PlannedRun, remark: str) -> None:
        self.told.append(remark)

    def progressed(self, run: many.PlannedRun, progress: Any) -> None:
        pass

    def ended(self, result: many.Result) -> None:
        pass


def planned(results: Path, seeds: Sequence[int], *settings: str, framework: str = "tensorflow") -> list[many.PlannedRun]:
    chosen = loading.load("clipnorm", latest(*SMALL, *UNCOMPILED[framework], "data.pool=4", "name=clipnorm", *settings))
    return many.plan([chosen], seeds, results)


def train_here(plans: Sequence[many.PlannedRun]) -> list[Ending]:
    workshop = Workshop()
    tasks = [Task.of(plan.config, plan.directory) for plan in plans]
    return [workshop.train(task, lambda event: None, lambda: False) for task in tasks]


def kept(results: Path) -> dict[str, bytes]:
    return contents(results, "*.csv", "config.yaml")


def command(loopback: Loopback, results: Path, seeds: int, *settings: str) -> subprocess.Popen[str]:
    given = options(*latest(*QUICK, "name=clipnorm", *settings))
    arguments = ["run", "clipnorm", *given, "--seeds", str(seeds), "--results", str(results), "--cluster", loopback.address]
    return subprocess.Popen(
        [sys.executable, "-m", "gradclip_cli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_cluster_leaves_the_files_of_a_local_run(framework: str, loopback: Loopback, tmp_path: Path) -> None:
    here, there = (planned(tmp_path / where, range(4), framework=framework) for where in ("here", "there"))
    seen = Seen()
    assert {ending.status for ending in train_here(here)} == {"complete"}
    ended = many.execute(there, seen, Execution(way=cluster.on_cluster(loopback.address), save_model=True))
    assert {result.status for result in ended} == {"complete"}
    assert ended[0].health
    assert kept(tmp_path / "here") == kept(tmp_path / "there")
    for mine, theirs in zip(here, there, strict=True):
        assert theirs.directory.metadata().keys() == mine.directory.metadata().keys()
        assert theirs.directory.metrics()["loss"].notna().all()  # its SHA-256 stands in run.json
        names = {path.name for path in theirs.directory.path.iterdir()}
        assert names == {"config.yaml", "metrics.csv", "steps.csv", "run.json", MODEL_FILES[framework]}
    assert seen.told[0].startswith(f"handed to {loopback.address}")
    assert not [*loopback.folder.rglob("steps.csv")]  # the workers keep nothing


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_problem_of_the_users_own_travels_with_its_runs(framework: str, loopback: Loopback, tmp_path: Path) -> None:
    """Its code, a module beside it and its data are in a folder that only this machine knows; then they are gone."""
    own_problem(tmp_path / "mine", framework)
    config = loading.load(str(tmp_path / "mine" / "configs" / "own.yaml"))
    here, there = (many.plan([config], range(2), tmp_path / where) for where in ("here", "there"))
    assert {ending.status for ending in train_here(here)} == {"complete"}
    execution = Execution(way=cluster.on_cluster(loopback.address))
    ended = many.execute(there, Seen(), execution)
    assert [result.message for result in ended if result.status != "complete"] == []
    assert kept(tmp_path / "here") == kept(tmp_path / "there")


def own_problem(folder: Path, framework: str) -> None:
    """A problem whose config stands in another folder than its code, which imports a module beside it."""
    model = {
        "tensorflow": "import keras\nfrom sizes import UNITS\n"
        "def build():\n    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(UNITS), keras.layers.Dense(1)])\n",
        "pytorch": "import torch\nfrom sizes import UNITS\n"
        "def build():\n    return torch.nn.Sequential(torch.nn.Linear(3, UNITS), torch.nn.Linear(UNITS, 1))\n",
    }
    (folder / "configs").mkdir(parents=True)
    (folder / "model.py").write_text(model[framework])
    (folder / "sizes.py").write_text("UNITS = 4\n")
    generator = np.random.default_rng(0)
    inputs, targets = generator.normal(size=(40, 3)), generator.normal(size=(40, 1))
    np.savez(folder / "data.npz", x_train=inputs[:32], y_train=targets[:32], x_test=inputs[32:], y_test=targets[32:])
    (folder / "configs" / "own.yaml").write_text(
        f"engine: {{framework: {framework}}}\ndata: {{npz: ../data.npz, batch_size: 8}}\n"
        "model: {factory: '../model.py:build'}\n"
        "loss: mean_squared_error\noptimizer: {name: adam}\ntraining: {epochs: 2, steps_per_epoch: 5}\n"
    )


@pytest.mark.slow
def test_a_run_that_fails_there_is_told_and_the_others_finish(loopback: Loopback, tmp_path: Path) -> None:
    """Its dataset is named in a folder that the worker has not; so the coordinator needs none."""
    plans = [*planned(tmp_path, [0], "data.subset=full", "name=full"), *planned(tmp_path, [0])]
    ended = many.execute(plans, Seen(), Execution(way=cluster.on_cluster(loopback.address), data_directory=tmp_path / "nowhere"))
    assert [result.status for result in ended] == ["failed", "complete"]
    assert "the folder that you named" in ended[0].message
    assert [run.arm for run in runs(tmp_path)] == ["clipnorm"]


@pytest.mark.slow
def test_a_killed_worker_costs_its_run_another_attempt(loopback: Loopback, tmp_path: Path) -> None:
    running = command(loopback, tmp_path / "there", 2, *LONG)
    wait_until(loopback.training)
    killed = loopback.workers.pop(loopback.training()[0])
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    assert errors.count("complete in") == 2
    assert {ending.status for ending in train_here(planned(tmp_path / "here", range(2), *LONG))} == {"complete"}
    assert kept(tmp_path / "here") == kept(tmp_path / "there")
    loopback.workers["third"] = loopback.start_worker("third")


@pytest.mark.slow
def test_a_killed_coordinator_goes_on_with_what_is_missing(loopback: Loopback, tmp_path: Path) -> None:
    running = command(loopback, tmp_path, 5, *LONG)
    wait_until(lambda: [run for run in runs(tmp_path) if run.status() == "complete"])
    running.send_signal(signal.SIGKILL)
    running.communicate()
    finished = {run.seed: run.metadata() for run in runs(tmp_path) if run.status() == "complete"}
    assert 1 <= len(finished) < 5
    again = command(loopback, tmp_path, 5, *LONG)
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert errors.count("left as it is") == len(finished)
    assert errors.count("complete in") == 5 - len(finished)
    stored = {run.seed: run.metadata() for run in runs(tmp_path)}
    assert sorted(stored) == [*range(5)]
    assert all(stored[seed] == metadata for seed, metadata in finished.items())


def test_a_run_whose_workers_all_die_is_told_in_a_line() -> None:
    from distributed.scheduler import KilledWorker

    assert cluster._explained(KilledWorker("key", None, 3)) == "its worker died each time, of 4 (killed, or out of memory?)"


@pytest.mark.slow
def test_an_interrupt_cancels_what_has_not_come_back(loopback: Loopback, tmp_path: Path) -> None:
    running = command(loopback, tmp_path, 4, *ENDLESS)
    wait_until(loopback.training)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "what had not come back is trained again" in errors
    assert not runs(tmp_path)
    wait_until(lambda: not loopback.training(), 20)  # workers stop what nobody waits for


def test_what_is_stored_looks_unfinished_until_all_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path, [0])[0]
    train_here([plan])
    task, metadata = Task.of(plan.config, plan.directory, force=True), plan.directory.metadata()
    files = {name: (plan.directory.path / name).read_bytes() for name in ("metrics.csv", "steps.csv")}
    before, seen = kept(tmp_path), []
    write = cluster.write_atomically
    monkeypatch.setattr(cluster, "write_atomically", lambda *given: (seen.append(plan.directory.status()), write(*given)))
    cluster._store(task, Ending("complete"), metadata, files)
    assert seen == ["running", "running"]
    assert plan.directory.metadata() == metadata
    assert kept(tmp_path) == before


def test_what_was_trained_here_meanwhile_stays(tmp_path: Path) -> None:
    plan = planned(tmp_path, [0])[0]
    train_here([plan])
    before, metadata = kept(tmp_path), plan.directory.metadata()
    other = plan.config.model_copy(update={"optimizer": plan.config.optimizer.model_copy(update={"learning_rate": 0.5})})
    ending = cluster._store(Task.of(plan.config, plan.directory), Ending("complete"), {"status": "complete"}, {})
    assert (ending.status, ending.was_there) == ("complete", True)
    with pytest.raises(ConflictError, match="holds another config"):
        cluster._store(Task.of(other, plan.directory), Ending("complete"), {"status": "complete"}, {})
    assert kept(tmp_path) == before
    assert plan.directory.metadata() == metadata


def test_a_failed_run_leaves_a_checkpoint_alone(tmp_path: Path) -> None:
    directory = planned(tmp_path, [0])[0].directory
    directory.path.mkdir(parents=True)
    directory.checkpoint_path.write_bytes(b"kept")
    task = Task.of(planned(tmp_path, [0])[0].config, directory)
    cluster._store(task, Ending("failed"), {"status": "failed"}, {})
    assert directory.checkpoint_path.read_bytes() == b"kept"


def test_where_no_scheduler_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
        arguments = ["run", "none", "--set", SMALL[0], "--results", str(tmp_path), "--cluster", address]
        ended = call(*arguments)
    assert ended.exit_code == 1
    assert f"{address}: no Dask scheduler answers there" in ended.stderr
    assert "dask scheduler" in ended.stderr
    assert not runs(tmp_path)


def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(ClusterError, match="no Dask scheduler answers there"):
        cluster.Cluster("carrier-pigeon://roof")


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    arguments = ["run", "none", "--set", SMALL[0], "--results", str(tmp_path), "--cluster", "tcp://127.0.0.1:8786"]
    ended = call(*arguments)
    assert ended.exit_code == 1
    assert "pip install 'gradclip-cli[cluster]'" in ended.stderr


def test_another_version_on_the_workers(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "__version__", "77.0")
    with pytest.raises(ClusterError, match=r"gradclip 77\.0 must be installed on all of the cluster(.|\n)*worker tcp"):
        cluster.Cluster(loopback.address)


def test_a_worker_of_another_version_that_joined_later(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "__version__", "77.0")
    monkeypatch.setattr(cluster, "_require_same_version", lambda client, address: {})
    seen = Seen()
    ended = many.execute(planned(tmp_path, [0]), seen, Execution(way=cluster.on_cluster(loopback.address)))
    assert ended[0].status == "failed"
    assert "the command was given to 77.0" in ended[0].message
    assert "has no workers yet" in seen.told[0]


@pytest.mark.parametrize(
    "arguments", [("-j", "2", "--cluster", "tcp://127.0.0.1:1"), ("--cluster", "tcp://127.0.0.1:1", "-j", "2")]
)
def test_jobs_and_a_cluster_exclude_each_other(arguments: tuple[str, ...]) -> None:
    ended = call("run", "none", *arguments)
    assert ended.exit_code == 2
    assert "--jobs counts worker processes here" in ended.stderr


def test_importing_the_command_line_imports_no_dask() -> None:
    code = "import sys, gradclip_cli.cli, gradclip_cli.runs.many; assert not {'distributed', 'dask'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
