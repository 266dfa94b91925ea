"""The benchmark's figures in words: what was found against what must hold, and the tables of `results/bench/table.md`."""

from __future__ import annotations

import statistics
from typing import Any

import own_problems
from contenders import RULES
from whole import LENGTHS, MANY_COMMANDS, SWARMS

Gathered = dict[str, list[float]]
ALLOWED = {"agc": 0.25}  # of a step over `none`; the other rules 0.10
CHECKPOINT_SECONDS = 5
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


def ratio(figures: Gathered, one: str, other: str) -> float:
    """The median over rounds, each of which ran both."""
    return statistics.median(a / b for a, b in zip(figures[one], figures[other], strict=True))


def times_the_script(figures: Gathered, runs: int) -> float:
    """How many times faster so many runs are through the pool than as many processes of the article's script in sequence."""
    script = figures[f"script {LENGTHS[-1]}"]
    if len(figures[f"pool {runs}"]) == len(script):
        return runs * ratio(figures, f"script {LENGTHS[-1]}", f"pool {runs}")
    return runs * statistics.median(script) / statistics.median(figures[f"pool {runs}"])


def bounds(figures: Gathered) -> list[dict[str, object]]:
    """What must hold, what was found, and whether it does."""
    medians = {name: statistics.median(values) for name, values in figures.items()}
    found = [
        (
            "90 runs as one command against 90 processes of the article's script: times faster",
            times_the_script(figures, 90),
            25.0,
        ),
        ("engine against plain fit: times faster", ratio(figures, "fit", "engine"), 6.0),
        ("two jobs against one: times the steps a second", ratio(figures, "jobs 2", "jobs 1"), 1.7),
    ]
    at_least = [(what, value, "at least", bound) for what, value, bound in found]
    found = [
        ("evaluating: share of a run", medians["evaluation share"], 0.09),
        ("writing: share of a run", medians["writing share"], 0.02),
        ("checkpoints: share of a run's time", medians["checkpoint"] / 1e3 / CHECKPOINT_SECONDS, 0.03),
        ("records: share of a step", ratio(figures, "engine", "engine_without_records") - 1, 0.15),
        ("memory a worker, MB", max(figures["memory 1"] + figures["memory 2"]), 1000.0),
        ("the page of 90 runs with six series of steps, s", medians["page 90"], 10.0),
        ("the page of 90 runs with six series of steps, MB", medians["page 90 MB"], 2.5),
        ("`compare` of 10,000 runs, s", medians["10,000 runs, compare, warm"], 15.0),
        ("`compare` of 10,000 runs, MB", medians["10,000 runs, compare, warm, MB"], 400.0),
        ("`list` of 10,000 runs, s", medians["10,000 runs, list, warm"], 1.0),
    ]
    if "pytorch" in figures:
        value = ratio(figures, "pytorch_engine", "pytorch")
        found.insert(0, ("PyTorch engine against the plain loop: times its time", value, 1.1))
    if "jax" in figures:
        found.insert(
            0, ("engine with all records against a JAX scan without: times its time", ratio(figures, "engine", "jax"), 1.0)
        )
    found += [
        (f"rule {name}: share of a step over none", ratio(figures, f"rule {name}", "rule none") - 1, ALLOWED.get(name, 0.1))
        for name in RULES
        if name != "none"
    ]
    at_most = [(what, value, "at most", bound) for what, value, bound in found]
    return [
        {"what": what, "found": value, "bound": f"{direction} {bound:g}", "holds": (value >= bound) == (direction == "at least")}
        for what, value, direction, bound in [*at_least, *at_most, *own_problems.bounds(figures)]
    ]


def to_markdown(content: dict[str, Any]) -> str:
    """All of it as a page's part."""
    figures, facts = content["figures"], content["machine"]
    medians = {name: statistics.median(values) for name, values in figures.items()}
    told = f"{facts['cores_available']} cores, {facts['processor']}, TensorFlow {facts['tensorflow']}, Keras {facts['keras']}"
    rounds = f"{content['rounds']} interleaved rounds (of the examples' engines one), medians (range)"
    lines = [
        f"One call of `make bench`, {rounds}. {told}.",
        "",
    ]
    if content["missing"]:
        lines += [f"Not installed, so left out: {', '.join(map(str, content['missing']))}.", ""]
    lines += ["| a training step | ms |", "|---|---:|"]
    lines += [f"| {name} | {_spread(figures[key])} |" for key, name in STEP_NAMES.items() if key in figures]
    lines += ["", *_one_run(figures), "", *_many_runs(figures), "", *_reading(medians)]
    lines += ["", *own_problems.table(figures), *own_problems.pool_lines(figures), *own_problems.recorder_lines(figures)]
    lines += [
        "",
        f"784 time steps: compiled in {medians['pixels compilation']:.1f} s, {medians['pixels memory']:.0f} MB. "
        f"A checkpoint takes {medians['checkpoint']:.1f} ms, at most one every {CHECKPOINT_SECONDS} s. Of a warm run evaluating "
        f"takes {medians['evaluation share']:.1%}, writing {medians['writing share']:.1%}.",
        "",
        "| must hold | found | bound | |",
        "|---|---:|---:|---|",
    ]
    lines += [f"| {each['what']} | {each['found']:.3g} | {each['bound']} | {_holds(each)} |" for each in content["bounds"]]
    return "\n".join(lines) + "\n"


def _one_run(figures: Gathered) -> list[str]:
    """One run as a whole command, beside the article's script as a process."""
    lines = ["| one run, typed to done, s | the article's script | `gradclip run clipvalue` | |", "|---|---:|---:|---:|"]
    for epochs in LENGTHS:
        script, run = figures[f"script {epochs}"], figures[f"run {epochs}"]
        faster = ratio(figures, f"script {epochs}", f"run {epochs}")
        lines.append(f"| {epochs} of 10 epochs | {_spread(script)} | {_spread(run)} | {faster:.1f} times faster |")
    again = [f"{_spread(figures[name])} s of {epochs}" for epochs in LENGTHS if (name := f"again {epochs}") in figures]
    told = f"Typed again, when what it trains lies compiled in gradclip's cache: {', '.join(again)} epochs."
    return [*lines, "", told] if again else lines


def _many_runs(figures: Gathered) -> list[str]:
    lines = ["| many runs of the article's length, s | one script after another* | one command | |", "|---|---:|---:|---:|"]
    for runs in SWARMS:
        script, pool = statistics.median(figures[f"script {LENGTHS[-1]}"]), figures[f"pool {runs}"]
        faster = times_the_script(figures, runs)
        lines.append(f"| {runs} runs | {runs * script:.0f} | {_spread(pool)} | {faster:.1f} times faster |")
    return [*lines, "", "\\* Extrapolated from one whole process of the script."]


def _reading(medians: dict[str, float]) -> list[str]:
    """Commands that train nothing."""
    lines = ["| commands that train nothing | s | MB |", "|---|---:|---:|"]
    lines += [f"| `gradclip {name}` | {medians[f'start {name}']:.2f} | |" for name in ("--help", "list", "compare")]
    lines.append(f"| `compare` of 90 runs | {medians['compare 90']:.1f} | |")
    lines.append(f"| `report` of them, a page of {medians['page 90 MB']:.1f} MB | {medians['page 90']:.1f} | |")
    for name in MANY_COMMANDS:
        for state, words in (("cold", "without a summary"), ("warm", "with one")):
            key = f"10,000 runs, {name}, {state}"
            lines.append(f"| `{name}` of 10,000 runs, {words} | {medians[key]:.1f} | {medians[f'{key}, MB']:.0f} |")
    return lines


def _holds(bound: dict[str, Any]) -> str:
    return "holds" if bound["holds"] else "**missed**"


def _spread(values: list[float]) -> str:
    digits = 2 if statistics.median(values) < 10 else 0
    middle, least, most = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({least} to {most})" if len(values) > 1 else middle
