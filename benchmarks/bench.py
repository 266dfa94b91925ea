"""The benchmark: `make bench`. Writes results/bench/bench.json and results/bench/table.md.

Every contender runs in a process of its own, in turn, several rounds, because the machine's speed drifts: what counts are
ratios of medians within one call. Those whose library is not installed are left out, and the table says so.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import own_problems
from contenders import CONTENDERS, RULES

ROUNDS = 3
NEEDS = {"pytorch": "torch", "jax": "jax"}
ONCE = ("pixels",)
SWARMS = (2, 10, 30)  # seeds of three arms
ALLOWED = {"agc": 0.25}  # of a step over `none`; the other rules 0.10
CHECKPOINT_SECONDS = 5
RESULTS = Path(__file__).parent.parent / "results"


def main() -> None:
    missing = [name for name, library in NEEDS.items() if not importlib.util.find_spec(library)]
    figures: dict[str, list[float]] = {}
    for number in range(1, ROUNDS + 1):
        for name in CONTENDERS:
            if name not in missing and (number == 1 or name not in ONCE):
                gather(figures, contend(name))
        print(f"round {number} of {ROUNDS}", file=sys.stderr)
    gather(figures, start_up())
    for seeds in SWARMS:
        gather(figures, {f"pool {3 * seeds}": swarm(seeds)})
        print(f"pool of {3 * seeds} runs", file=sys.stderr)
    measure_own_problems(figures, ROUNDS)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    costs = {name: ratio(figures, f"rule {name}", "rule none") - 1 for name in RULES}
    content = {
        "machine": machine(),
        "rounds": ROUNDS,
        "missing": missing,
        "figures": figures,
        "medians": medians,
        "speed_up": ratio(figures, "fit", "engine"),
        "records_cost": ratio(figures, "engine", "engine_without_records") - 1,
        "rule_costs": costs,
        "bounds": bounds(figures, medians, costs),
    }
    folder = RESULTS / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(content, indent=2) + "\n")
    (folder / "recorders.json").write_text(json.dumps(own_problems.recorder_costs(figures), indent=2) + "\n")
    table = to_markdown(content, figures)
    (folder / "table.md").write_text(table)
    print(table)


def measure_own_problems(figures: dict[str, list[float]], rounds: int) -> None:
    """The examples' steps in turns, and paired runs of each through the pool."""
    for number in range(1, rounds + 1):
        for name in (*own_problems.EXAMPLES, own_problems.DENSE):
            for kind in own_problems.CONTENDERS:
                gather(figures, contend(kind, name, file="own_problems.py"))
        print(f"examples: round {number} of {rounds}", file=sys.stderr)
    for name in own_problems.EXAMPLES:
        base = own_problems.config_path(name)
        arms = [str(base), str(base.with_name("clipped.yaml"))]
        with tempfile.TemporaryDirectory() as folder:
            third = Path(folder, "value.yaml")
            third.write_text(f"extends: {base}\nname: value\nclipping: {{mode: clipvalue, threshold: 0.5}}\n")
            plan = ["--seeds", str(own_problems.SEEDS), "--results", f"{folder}/results"]
            gather(figures, {f"pool {name}": gradclip("-q", "run", *arms, str(third), *plan)})
        print(f"examples: pool of {name}", file=sys.stderr)


def contend(*arguments: str, file: str = "contenders.py") -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).with_name(file)), *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return dict(json.loads(output.splitlines()[-1]))


def gather(figures: dict[str, list[float]], measured: dict[str, float]) -> None:
    for name, value in measured.items():
        figures.setdefault(name, []).append(value)


def gradclip(*arguments: str) -> float:
    """Seconds that a command takes from start to end."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "gradclip_cli", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def start_up() -> dict[str, float]:
    article = str(RESULTS / "article")
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "--help": ["--help"],
            "list": ["list", "none", "--results", article],
            "compare": ["compare", "none", "clipnorm", "clipvalue", "--results", article, "--out", folder],
        }
        return {
            f"start {name}": statistics.median(gradclip(*command) for _ in range(ROUNDS)) for name, command in commands.items()
        }


def swarm(seeds: int) -> float:
    """Seconds of three arms with so many seeds through the pool, from start to end."""
    with tempfile.TemporaryDirectory() as folder:
        return gradclip("-q", "run", "none", "clipnorm", "clipvalue", "--seeds", str(seeds), "--results", folder)


def fits_in_sequence(medians: dict[str, float], runs: int) -> float:
    """Seconds that as many plain `fit` runs would take one after another: extrapolated from measured epochs."""
    return medians["fit start-up"] + runs * medians["fit run"]


def ratio(figures: dict[str, list[float]], one: str, other: str) -> float:
    """The median over rounds, each of which ran both."""
    return statistics.median(a / b for a, b in zip(figures[one], figures[other], strict=True))


def bounds(figures: dict[str, list[float]], medians: dict[str, float], costs: dict[str, float]) -> list[dict[str, object]]:
    """What must hold, what was found, and whether it does."""
    pool = fits_in_sequence(medians, 90) / medians["pool 90"]
    checkpoint = medians["checkpoint"] / 1e3 / CHECKPOINT_SECONDS
    memory = max(figures["memory 1"] + figures["memory 2"])
    found = [
        ("engine against plain fit: times faster", ratio(figures, "fit", "engine"), "at least", 6.0),
        ("90 runs through the pool against 90 fits in sequence: times faster", pool, "at least", 12.0),
        ("two jobs against one: times the steps a second", ratio(figures, "jobs 2", "jobs 1"), "at least", 1.7),
        ("checkpoints: share of a run's time", checkpoint, "at most", 0.03),
        ("records: share of a step", ratio(figures, "engine", "engine_without_records") - 1, "at most", 0.15),
        ("memory a worker, MB", memory, "at most", 1000.0),
    ]
    if "pytorch" in figures:
        found.insert(
            1,
            (
                "PyTorch engine against the plain loop: times its time",
                ratio(figures, "pytorch_engine", "pytorch"),
                "at most",
                1.1,
            ),
        )
    if "jax" in figures:
        found.insert(1, ("engine against a JAX scan: times its time", ratio(figures, "engine", "jax"), "at most", 1.3))
    found += [
        (f"rule {name}: share of a step over none", cost, "at most", ALLOWED.get(name, 0.1))
        for name, cost in costs.items()
        if name != "none"
    ]
    found += own_problems.bounds(figures)
    return [
        {"what": what, "found": value, "bound": f"{direction} {bound:g}", "holds": (value >= bound) == (direction == "at least")}
        for what, value, direction, bound in found
    ]


def machine() -> dict[str, object]:
    from gradclip_cli.runs.provenance import provenance

    facts = provenance("tensorflow")
    return {
        **facts["machine"],
        **facts["versions"],
        **{library: metadata.version(library) for library in NEEDS.values() if importlib.util.find_spec(library)},
        "cores_available": len(os.sched_getaffinity(0)),
        "platform": platform.platform(),
    }


STEP_NAMES = {
    "fit": "the article's `model.fit`, all cores",
    "fit_compiled": "`model.fit` with `jit_compile` and `steps_per_execution=250`, all cores",
    "engine": "gradclip's engine with its records, one thread",
    "engine_without_records": "the same without gradient records",
    "pytorch": "PyTorch, eager `nn.LSTM` with `clip_grad_value_`, one thread",
    "pytorch_engine": "gradclip's PyTorch engine with its records, one thread",
    "jax": "JAX, a hand-written step under `lax.scan`, no records, one thread",
    **{f"rule {name}": f"the engine with {name}" for name in RULES},
    "pixels": "the engine on 784 time steps an image",
}


def to_markdown(content: dict[str, Any], figures: dict[str, list[float]]) -> str:
    medians = {name: statistics.median(values) for name, values in figures.items()}
    facts = content["machine"]
    told = f"{facts['cores_available']} cores, {facts['processor']}, TensorFlow {facts['tensorflow']}, Keras {facts['keras']}"
    lines = [f"One call of `make bench`, {ROUNDS} interleaved rounds, medians (range). {told}.", ""]
    if content["missing"]:
        lines += [f"Not installed, so left out: {', '.join(map(str, content['missing']))}.", ""]
    lines += ["| a training step | ms |", "|---|---:|"]
    lines += [f"| {name} | {spread(figures[key])} |" for key, name in STEP_NAMES.items() if key in figures]
    lines += [
        "",
        "| many runs of the article's length, evaluated after each epoch | through the pool | one `fit` after another* | |",
    ]
    lines += ["|---|---:|---:|---:|"]
    for seeds in SWARMS:
        runs = 3 * seeds
        pool, fits = medians[f"pool {runs}"], fits_in_sequence(medians, runs)
        lines.append(f"| {runs} runs | {pool:.0f} s | {fits:.0f} s | {fits / pool:.1f} times faster |")
    lines += ["", "\\* Extrapolated from measured epochs, each evaluated on the test set.", ""]
    lines += ["| start-up | s |", "|---|---:|"]
    lines += [f"| `gradclip {name}` | {medians[f'start {name}']:.2f} |" for name in ("--help", "list", "compare")]
    lines += ["", *own_problems.table(figures), *own_problems.pool_lines(figures), *own_problems.recorder_lines(figures)]
    lines += [
        "",
        f"784 time steps: compiled in {medians['pixels compilation']:.1f} s, {medians['pixels memory']:.0f} MB. "
        f"A checkpoint takes {medians['checkpoint']:.1f} ms, at most one every {CHECKPOINT_SECONDS} s.",
        "",
        "| must hold | found | bound | |",
        "|---|---:|---:|---|",
    ]
    for bound in content["bounds"]:
        lines.append(
            f"| {bound['what']} | {bound['found']:.3g} | {bound['bound']} | {'holds' if bound['holds'] else '**missed**'} |"
        )
    return "\n".join(lines) + "\n"


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
