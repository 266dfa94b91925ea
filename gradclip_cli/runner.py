"""Many runs: plans them, skips finished ones, trains the others and counts the outcomes."""

from __future__ import annotations

import math
import os
import platform
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from gradclip_cli import config as configs
from gradclip_cli import data, engines
from gradclip_cli.errors import ConflictError, GradclipError, StoreError
from gradclip_cli.health import Diagnosis, Spike
from gradclip_cli.schema import Config
from gradclip_cli.store import FINISHED, RunDirectory, require_writable, runs_of
from gradclip_cli.training import Outcome, Progress, start, train

PACKAGES = ("gradclip-cli", "tensorflow", "keras", "numpy")


@dataclass(frozen=True)
class PlannedRun:
    """A run to train, or to leave alone: `action` is train, skip or replace; `reason` says why."""

    config: Config
    directory: RunDirectory
    action: str
    reason: str

    @property
    def label(self) -> str:
        return f"{self.config.name} seed {self.config.training.seed}"


@dataclass(frozen=True)
class Result:
    """How a planned run ended: complete, diverged, interrupted or failed; skipped ones with what they once were."""

    run: PlannedRun
    status: str
    seconds: float = 0.0
    told: str = ""
    """Where it diverged, or why it failed."""
    health: str = ""
    """What its gradients say, in a few words."""


class Observer(Protocol):
    """Is told what happens, to show it."""

    def preparing(self, run: PlannedRun, what: str) -> None: ...
    def started(self, run: PlannedRun) -> None: ...
    def progressed(self, run: PlannedRun, progress: Progress) -> None: ...
    def ended(self, result: Result) -> None: ...


def plan(given: Sequence[Config], seeds: Sequence[int] | None, results: Path, *, force: bool = False) -> list[PlannedRun]:
    """Decide for each config and seed (the config's own without `seeds`) what is to be done, writing nothing.

    Runs that one compilation can serve stand together. Raises ConflictError where a directory holds another config.
    """
    chosen = [config.with_seed(seed) for config in given for seed in (seeds if seeds is not None else [config.training.seed])]
    keys = list(dict.fromkeys(engines.compile_key(config) for config in chosen))
    chosen.sort(key=lambda config: keys.index(engines.compile_key(config)))
    conflicts: list[str] = []
    planned: list[PlannedRun] = []
    for config in chosen:
        try:
            planned.append(_plan_run(config, RunDirectory.of(results, config.name, config.training.seed), force))
        except StoreError as error:
            conflicts.append(str(error))
    if conflicts:
        raise ConflictError("\n".join(conflicts))
    return planned


def _plan_run(config: Config, directory: RunDirectory, force: bool) -> PlannedRun:
    status = directory.status()
    if force:
        return PlannedRun(config, directory, "train" if status == "none" else "replace", f"--force, was: {status}")
    # An arm's runs differ in nothing but the seed, so a new seed must fit those that are there.
    stored = directory if status != "none" else next(iter(runs_of(directory.path.parent)), None)
    differences = configs.differences(stored.config().with_seed(config.training.seed), config) if stored else []
    if stored and differences:
        told = "; ".join(f"{key}: {there} there, {here} here" for key, there, here in differences)
        raise ConflictError(
            f"{stored.path}: holds another config ({told}); give yours another name, or replace the run with --force"
        )
    if status == "none":
        return PlannedRun(config, directory, "train", "new")
    if status in FINISHED:
        return PlannedRun(config, directory, "skip", f"already {status}")
    return PlannedRun(config, directory, "replace", f"{status} before it was finished: starts over")


class Interrupted(GradclipError):
    """A signal asked to stop; what was trained so far is marked as interrupted."""

    def __init__(self, signal_number: int, results: list[Result]) -> None:
        super().__init__("Interrupted. Give the same command again: finished runs are kept, the interrupted one starts over.")
        self.exit_code = 128 + signal_number
        self.results = results


def execute(
    planned: Sequence[PlannedRun], observer: Observer, *, save_model: bool = False, data_directory: Path | None = None,
    download_progress: data.DownloadProgress | None = None,
) -> list[Result]:  # fmt: skip
    """Train the planned runs one after another, building an engine once for all runs that it can serve.

    A run that fails is marked so and the others go on. Raises Interrupted on SIGINT or SIGTERM, with the results so far.
    """
    results: list[Result] = []
    environment = provenance()
    workshop = _Workshop(data_directory, download_progress)
    for run in planned:
        if run.action == "skip":
            results.append(_skipped(run))
            observer.ended(results[-1])
            continue
        observer.preparing(run, "loading the dataset")
        dataset = workshop.dataset(run.config)
        require_writable(run.directory.path.parent.parent)
        observer.preparing(run, "building the model")
        with _stop_requests() as stop:
            result = _execute_run(run, workshop, dataset, environment, observer, stop, save_model)
        results.append(result)
        observer.ended(result)
        if stop.signal_number:
            raise Interrupted(stop.signal_number, results)
    return results


class _Workshop:
    """What a process keeps from run to run: the datasets that were loaded, and the engine of the last kind of run."""

    def __init__(self, data_directory: Path | None, download_progress: data.DownloadProgress | None) -> None:
        self._data_directory = data_directory
        self._download_progress = download_progress
        self._datasets: dict[str, data.Dataset] = {}
        self._engines: dict[str, engines.Engine] = {}

    def dataset(self, config: Config) -> data.Dataset:
        key = config.data.model_dump_json(include={"dataset", "subset", "holdout"})
        if key not in self._datasets:
            self._datasets[key] = data.load(config.data, self._data_directory, self._download_progress)
        return self._datasets[key]

    def engine(self, config: Config) -> engines.Engine:
        key = engines.compile_key(config)
        if key not in self._engines:
            self._engines = {key: engines.build(config, self.dataset(config))}
        return self._engines[key]


def _skipped(run: PlannedRun) -> Result:
    stored = run.directory.metadata()
    return Result(run, stored["status"], told=(stored.get("diverged") or {}).get("told", ""))


def _execute_run(
    run: PlannedRun, workshop: _Workshop, dataset: data.Dataset, environment: dict[str, Any], observer: Observer,
    stop: _Stop, save_model: bool,
) -> Result:  # fmt: skip
    config, directory = run.config, run.directory
    started, clock = datetime.now(UTC), time.perf_counter()
    facts = {
        "arm": config.name,
        "seed": config.training.seed,
        "started": started.isoformat(timespec="seconds"),
        "evaluation_split": dataset.evaluation_split,
        "dataset_sha256": dataset.sha256,
        **environment,
    }
    try:
        engine = workshop.engine(config)
        facts["variables"] = list(engine.variables)
        observer.started(run)
        with directory.locked():
            directory.start(config, engine.variables, facts)
            try:
                outcome = _train(config, engine, dataset, directory, lambda progress: observer.progressed(run, progress), stop)
                if save_model and outcome.status == "complete":
                    _save_model(engine, directory)
                seconds = time.perf_counter() - clock
                directory.write_metadata({**facts, **_ending(outcome, directory, seconds)})
            except BaseException as error:
                status = "failed" if isinstance(error, Exception) else "interrupted"
                directory.write_metadata({**facts, "status": status, "reason": f"{type(error).__name__}: {error}"})
                raise
    except Exception as error:
        return Result(run, "failed", time.perf_counter() - clock, str(error) or type(error).__name__)
    told, health = outcome.divergence.told if outcome.divergence else "", outcome.health.told if outcome.health else ""
    return Result(run, outcome.status, seconds, told, health)


def _train(
    config: Config, engine: engines.Engine, dataset: data.Dataset, directory: RunDirectory, report: Any, stop: _Stop
) -> Outcome:
    schedule = start(config, engine, dataset)
    return train(config, engine, schedule, directory, report, stop.requested)


def _save_model(engine: engines.Engine, directory: RunDirectory) -> None:
    temporary = directory.path / ".saving.keras"
    engine.save(temporary)
    os.replace(temporary, directory.model_path)


def _ending(outcome: Outcome, directory: RunDirectory, seconds: float) -> dict[str, Any]:
    divergence = outcome.divergence
    return {
        "status": outcome.status,
        "epochs": outcome.epochs,
        "steps": outcome.steps,
        "diverged": {**asdict(divergence), "told": divergence.told} if divergence else None,
        "overflows": {"steps": outcome.overflow_steps, "first": outcome.first_overflow},
        "largest_applied": outcome.largest_applied,
        "health": _health(outcome.health) if outcome.health else None,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "metrics_sha256": directory.metrics_sha256(),
    }


def _health(health: Diagnosis) -> dict[str, Any]:
    """What `run.json` keeps of a diagnosis: enough to tell who was warned, when and how strongly."""
    warnings = {"first_spike": health.first_spike, "first_explosion": health.first_explosion}
    return {
        "word": health.word,
        "spikes": len(health.spikes),
        **{name: _spike(spike) if spike else None for name, spike in warnings.items()},
    }


def _spike(spike: Spike) -> dict[str, Any]:
    return {name: None if value == math.inf or value != value else value for name, value in asdict(spike).items()}


@dataclass
class _Stop:
    signal_number: int = 0

    def requested(self) -> bool:
        return bool(self.signal_number)


@contextmanager
def _stop_requests() -> Iterator[_Stop]:
    """Turn the first SIGINT or SIGTERM into a request to stop at the next chunk; a second one stops at once."""
    stop = _Stop()

    def request(signal_number: int, frame: FrameType | None) -> None:
        if stop.signal_number:
            raise KeyboardInterrupt
        stop.signal_number = signal_number

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def provenance() -> dict[str, Any]:
    """Versions, git commit (of a checkout, else None) and machine: what a result may depend on besides its config."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    machine = {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()}
    return {"versions": versions, "git_commit": _git_commit(), "machine": machine}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _git_commit() -> str | None:
    checkout = Path(__file__).parent.parent
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return answer.stdout.strip() or None
