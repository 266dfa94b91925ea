"""Whole commands, as they are typed, beside the article's script as a process: one run, many, and the evidence of 10,000.

`python benchmarks/whole.py KIND` prints a contender's figures as JSON; `bench.py` calls it so, in turns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import evidence
from contenders import STEPS, Figures, fitted

LENGTHS = (1, 3, 10)  # epochs; the last is the article's
SWARMS = (6, 30, 90)  # runs of three arms
EVIDENCE_ARMS, EVIDENCE_SEEDS = 30, 333
PAGE_SERIES = 6
"""How many runs of the page of 90 have a series of all their steps: two of each arm."""
MANY_COMMANDS = ("list", "compare", "report")


def seconds(*arguments: str, compiled: str = "off") -> float:
    """Seconds by the clock that a command of gradclip takes from start to end; by default it compiles all that it trains."""
    started = time.perf_counter()
    command, environment = [sys.executable, "-m", "gradclip_cli", *arguments], {**os.environ, "GRADCLIP_COMPILED": compiled}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - started


def one_run() -> Figures:
    """The article's script and `gradclip run`, by how many epochs they train; each as a process, from start to end.

    A command then is typed `again`: what it trains lies compiled in gradclip's cache.
    """
    figures = {}

    def run(epochs: int, compiled: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            settings = ("--set", f"training.epochs={epochs}", "--results", folder)
            return seconds("-q", "run", "clipvalue", *settings, compiled=compiled)

    run(LENGTHS[0], "on")
    for epochs in LENGTHS:
        clock = time.perf_counter()
        subprocess.run([sys.executable, __file__, "script", str(epochs)], check=True, capture_output=True)
        figures[f"script {epochs}"] = time.perf_counter() - clock
        figures |= {f"run {epochs}": run(epochs, "off"), f"again {epochs}": run(epochs, "on")}
    return figures


def script(epochs: int) -> None:
    """The article's script: `fit` over a tf.data pipeline, evaluated on the test set after each epoch."""
    model, pipeline, test = fitted()
    model.fit(pipeline, steps_per_epoch=STEPS, epochs=epochs, verbose=0, validation_data=test)


def swarm(runs: int, folder: str) -> Figures:
    """Three arms with so many runs in all, through the pool."""
    return {f"pool {runs}": seconds("-q", "run", "none", "clipnorm", "clipvalue", "--seeds", str(runs // 3), "--results", folder)}


def ninety() -> Figures:
    """The 90 runs as one command; then what reads them: the comparison, and the page with its step series."""
    with tempfile.TemporaryDirectory() as folder:
        figures = swarm(90, folder)
        kept = sorted(Path(folder).rglob("steps.csv"))
        for path in kept:
            if int(path.parent.name.removeprefix("seed-")) >= PAGE_SERIES // 3:
                path.unlink()
        page = Path(folder, "page.html")
        arms = ("none", "clipnorm", "clipvalue", "--results", folder)
        figures["compare 90"] = seconds("compare", *arms, "--out", f"{folder}/compare")
        figures["page 90"] = seconds("report", *arms, "--output", str(page))
        return {**figures, "page 90 MB": page.stat().st_size / 1e6}


def start_up() -> Figures:
    """Commands that train nothing."""
    article = str(Path(__file__).parent.parent / "results" / "article")
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "--help": ["--help"],
            "list": ["list", "none", "--results", article],
            "compare": ["compare", "none", "clipnorm", "clipvalue", "--results", article, "--out", folder],
        }
        return {f"start {name}": seconds(*command) for name, command in commands.items()}


def ten_thousand() -> Figures:
    """What 10,000 made-up runs cost the commands that read them, without a summary beside them (cold) and with one (warm)."""
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        evidence.store(Path(folder), EVIDENCE_ARMS, EVIDENCE_SEEDS)
        time.sleep(evidence.SETTLED / 1e9)  # what has just been written is read again
        for name, cost in evidence.costs(Path(folder)).items():
            figures |= {f"10,000 runs, {name}": cost.wall, f"10,000 runs, {name}, MB": cost.memory}
    return figures


def shares() -> Figures:
    """The shares, by the clock, that evaluating and writing take of a run of the article's length in a warm process."""
    from gradclip_cli.config import loading
    from gradclip_cli.runs import loop
    from gradclip_cli.runs.one import Workshop
    from gradclip_cli.runs.store import RunDirectory
    from gradclip_cli.runs.trainers import Task

    spent = dict.fromkeys(("evaluation", "writing"), 0.0)

    def timed(work: Callable[..., Any], share: str) -> Callable[..., Any]:
        def timed_work(*arguments: Any, **others: Any) -> Any:
            clock = time.perf_counter()
            try:
                return work(*arguments, **others)
            finally:
                spent[share] += time.perf_counter() - clock

        return timed_work

    # Rows are formatted by `step_rows` and `append_steps`; a checkpoint's time is in it too.
    loop.step_rows = timed(loop.step_rows, "writing")
    for name in ("start", "append_metrics", "append_steps", "write_checkpoint", "write_metadata"):
        setattr(RunDirectory, name, timed(getattr(RunDirectory, name), "writing"))
    workshop, chosen = Workshop(), loading.load("clipvalue")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(4):
            if number == 1:  # The first compiles.
                engine = next(iter(workshop._engines.values()))
                engine.evaluate = timed(engine.evaluate, "evaluation")
                spent, whole = dict.fromkeys(spent, 0.0), 0.0
            directory = RunDirectory.of(Path(folder), "bench", number)
            clock = time.perf_counter()
            ending = workshop.train(Task.of(chosen.with_seed(number), directory), lambda event: None, lambda: False)
            assert ending.status == "complete", ending.message
            whole = time.perf_counter() - clock + (whole if number else 0.0)
    return {f"{name} share": value / whole for name, value in spent.items()}


CONTENDERS: dict[str, Callable[[], Figures]] = {each.__name__: each for each in (one_run, ninety, start_up, ten_thousand, shares)}

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).with_name("without_jax")))
    os.environ["PYTHONPATH"] = str(Path(__file__).with_name("without_jax"))
    if sys.argv[1] == "script":
        script(int(sys.argv[2]))
    else:
        print(json.dumps(CONTENDERS[sys.argv[1]]()))
