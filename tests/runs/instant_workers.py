"""Many Dask workers on one machine, whose runs take no time: started as `instant_workers.py ADDRESS COUNT FOLDER STEPS`.

They are forked from one process that has imported all they need, and so share most of their memory. What would train is replaced
by `Instant`, which leaves the files of a finished run; all around it is what trains on any worker.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from distributed import Worker

from gradclip_cli.config.schema import Config
from gradclip_cli.runs import cluster_worker
from gradclip_cli.runs.csv_files import metric_columns
from gradclip_cli.runs.metadata import Status
from gradclip_cli.runs.steps import step_columns
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.trainers import Ending, Event, Task

FACTS = {"versions": {"tensorflow": "none"}, "machine": {"system": "none"}, "evaluation_split": "test", "dataset_sha256": "none"}
VARIABLES = ("lstm/kernel", "lstm/recurrent_kernel", "lstm/bias", "dense/kernel", "dense/bias")


def store_instantly(config: Config, directory: RunDirectory, steps: int) -> Ending:
    """Leave a finished run of one epoch whose numbers are made up of its seed."""
    seed = config.training.seed
    facts = {**FACTS, "arm": config.name, "seed": seed, "variables": list(VARIABLES)}
    directory.path.mkdir(parents=True, exist_ok=True)
    directory.start(config, VARIABLES, facts)
    columns = metric_columns({"accuracy": True})
    directory.append_metrics({column: (seed + 1) / (place + 3) for place, column in enumerate(columns)} | {"epoch": 1})
    width = len(step_columns(VARIABLES))
    directory.append_steps([step, *((seed + step) / (place + 7) for place in range(1, width))] for step in range(1, steps + 1))
    hashes = {
        "config_sha256": directory.config_sha256(),
        "metrics_sha256": directory.metrics_sha256(),
        "steps_sha256": directory.steps_sha256(),
    }
    directory.write_metadata({**facts, "status": Status.COMPLETE, "epochs": 1, "steps": steps, **hashes})
    return Ending(Status.COMPLETE, 0.0, health="steady")


class Instant:
    """In place of a worker's workshop."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def train(self, task: Task, report: Callable[[Event], None], should_stop: Callable[[], bool]) -> Ending:
        return store_instantly(task.load_config(), RunDirectory(task.directory), self.steps)


async def work(address: str, folder: Path, number: int) -> None:
    local = folder / str(number)  # each its own: they look through what others left
    worker = Worker(address, nthreads=1, name=str(number), local_directory=str(local), dashboard=False, memory_limit=0)
    async with worker:
        await worker.finished()


def main(address: str, count: int, folder: Path, steps: int) -> None:
    """Start the workers, and wait; they end with this process."""
    instant = Instant(steps)
    cluster_worker._this_worker = lambda: instant  # type: ignore[assignment]
    os.fsync = lambda descriptor: None  # type: ignore[assignment]  # what a worker writes is gone in a moment anyway
    gc.freeze()  # what is never looked through stays shared
    workers = []
    for number in range(count):
        if (pid := os.fork()) == 0:
            asyncio.run(work(address, folder, number))
            os._exit(0)
        workers.append(pid)

    def end(signal_number: int, frame: object) -> None:
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    for pid in workers:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
