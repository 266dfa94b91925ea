"""The benchmark of evidence: how long `list` and `compare` take on thousands of stored runs, and how much memory.

`python benchmarks/evidence.py ARMS SEEDS` stores so many made-up runs, of 10 epochs and without `steps.csv`, in a folder of its
own, and prints a table: each command as a process, without a summary of the runs beside them (cold) and with one (warm).
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradclip_cli.config import loading
from gradclip_cli.runs.csv_files import metric_columns
from gradclip_cli.runs.metadata import metadata_json
from gradclip_cli.runs.summaries import SETTLED, SUMMARY

EPOCHS = 10
COMMANDS = {name: (name,) for name in ("list", "compare", "report")}
VARIABLES = ("lstm/kernel", "lstm/recurrent_kernel", "lstm/bias", "dense/kernel", "dense/bias")
FACTS: dict[str, Any] = {
    "started": "2025-01-01T00:00:00+00:00",
    "evaluation_split": "test",
    "dataset_sha256": hashlib.sha256(b"data").hexdigest(),
    "metrics": {"accuracy": {"higher_is_better": True}},
    "counts_correct": True,
    "chance": {"loss": 2.302585092994046, "accuracy": 0.1},
    "compiled": "xla",
    "variables": VARIABLES,
    "versions": {"python": "3.11.7", "gradclip-cli": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6"},
    "git_commit": "0" * 40,
    "machine": {"system": "Linux", "processor": "made up", "cores": 2},
    "status": "complete",
    "epochs": EPOCHS,
    "steps": 500 * EPOCHS,
    "diverged": None,
    "overflows": {"steps": 0, "first": None},
    "largest_applied": 1.0,
    "clipped_steps": dict.fromkeys(VARIABLES, 700),
    "health": {"word": "spiking", "spikes": 20, "first_spike": {"step": 1040, "norm": 7.6}, "first_explosion": None},
    "finished": "2025-01-01T00:00:04+00:00",
    "seconds": 3.7,
}
"""What the `run.json` of a run of the article's model says, but for what is each run's own."""


def store(results: Path, arms: int, seeds: int) -> None:
    """Store so many made-up runs: the first arm unclipped, each other one clipped by norm, at a threshold of its own."""
    random = np.random.default_rng(0)
    header = ",".join(metric_columns(["accuracy"]))
    for arm in range(arms):
        rule = f"clipping={{mode: clipnorm, threshold: {arm}.5}}" if arm else "clipping={mode: none}"
        name = f"clipnorm-{arm}.5" if arm else "none"
        config = loading.to_yaml(loading.load("none", [f"name={name}", rule]))
        for seed in range(seeds):
            losses = 2.3 - np.sort(random.uniform(0.3, 1.5, EPOCHS)) - 0.002 * arm
            metrics = "\n".join([header, *(_line(epoch, loss, clipped=bool(arm)) for epoch, loss in enumerate(losses, 1)), ""])
            _store_run(results / name / f"seed-{seed}", config.replace("  seed: 0\n", f"  seed: {seed}\n"), metrics)


def _line(epoch: int, loss: float, *, clipped: bool) -> str:
    values = (loss, 1 - loss / 2.4, loss + 0.05, 0.97 - loss / 2.4, loss, 10 * loss, 0.3 * clipped)
    return ",".join([str(epoch), *(repr(float(value)) for value in values)])


def _store_run(folder: Path, config: str, metrics: str) -> None:
    texts = (("config", config), ("metrics", metrics))
    digests = {f"{name}_sha256": hashlib.sha256(text.encode()).hexdigest() for name, text in texts}
    seed = int(folder.name.removeprefix("seed-"))
    own = {
        name: hashlib.sha256(f"{name} {seed}".encode()).hexdigest() for name in ("initial_weights_sha256", "first_epoch_sha256")
    }
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    (folder / "metrics.csv").write_text(metrics)
    (folder / "run.json").write_text(metadata_json({"arm": folder.parent.name, "seed": seed, **own, **FACTS, **digests}))


@dataclass(frozen=True)
class Cost:
    """What a process took."""

    processor: float
    """Seconds, in user and system mode."""
    wall: float
    """Seconds."""
    memory: float
    """The most at once, in MB."""


def cost(arguments: tuple[str, ...], results: Path) -> Cost:
    """What gradclip takes to do what these arguments say on these runs. Raises RuntimeError where it fails."""
    command = [sys.executable, "-m", "gradclip_cli", *arguments, "--results", str(results)]
    clock = time.perf_counter()
    with open(os.devnull, "w") as nowhere:
        actions = [(os.POSIX_SPAWN_DUP2, nowhere.fileno(), stream) for stream in (1, 2)]
        process = os.posix_spawn(sys.executable, command, os.environ, file_actions=actions)
        _, status, used = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    scale = 1 if sys.platform == "darwin" else 1024  # the unit of the most memory at once
    return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - clock, used.ru_maxrss * scale / 1e6)


def costs(results: Path) -> dict[str, Cost]:
    """By command what it takes without a summary and with one."""
    found = {}
    for name, arguments in COMMANDS.items():
        (results / SUMMARY).unlink(missing_ok=True)
        found[f"{name}, cold"], found[f"{name}, warm"] = cost(arguments, results), cost(arguments, results)
    return found


def table(arms: int, seeds: int) -> list[str]:
    """The costs of so many runs as lines of Markdown, and of three runs beside them."""
    with tempfile.TemporaryDirectory() as folder:
        many, few = Path(folder) / "many", Path(folder) / "few"
        store(many, arms, seeds)
        store(few, 3, 1)
        time.sleep(SETTLED / 1e9)  # what has just been written is read again
        lines = [
            f"| {arms * seeds:,} runs, {arms} arms | processor, s | wall, s | memory, MB | of 3 runs |",
            "|---|---:|---:|---:|---:|",
        ]
        beside = {name: cost(arguments, few) for name, arguments in COMMANDS.items()}
        for name, each in costs(many).items():
            own = beside[name.partition(",")[0]].processor
            lines.append(f"| `{name}` | {each.processor:.1f} | {each.wall:.1f} | {each.memory:.0f} | {own:.1f} s |")
        size, pages = (many / SUMMARY).stat().st_size, sorted(many.rglob("*.html"))
        lines += [
            "",
            f"The summary is {size / 1e6:.1f} MB; the report's page {sum(page.stat().st_size for page in pages) / 1e6:.1f} MB.",
        ]
        return lines


if __name__ == "__main__":
    print("\n".join(table(*map(int, sys.argv[1:3]))))
