"""What `check` found, in sentences, tables and JSON: what keeps a problem from training, and what is worth a look."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradclip_cli.config.own import COMPILED, OwnConfig
from gradclip_cli.evidence.report import finite
from gradclip_cli.experiments.check import STEPS, Checked, Timing, Variable, WouldNotTrain
from gradclip_cli.gradients.rules.none import Unclipped
from gradclip_cli.problems.own_arrays.data_summary import Summary
from gradclip_cli.texts import counted

MOST_NAMED = 5
"""Names in a sentence; of more the number of the others is told."""
MOST_SHOWN = 20
"""Variables, and arrays, in a table."""
SEEDS, ARMS = 8, 3
"""Of a comparison whose duration is estimated."""
TIMES = "\N{MULTIPLICATION SIGN}"


def obstacles(checked: Checked) -> list[str]:
    """Why it would not train; nothing where it would."""
    steps, records = checked.steps, checked.steps.records
    found = []
    if not checked.builds.same_data:
        found.append(
            f"{checked.config.data.label} gives other data each time it is called, so that runs would not train on the same: "
            "seed, inside the function, whatever it draws from or shuffles with."
        )
    if steps.divergence:
        hint = "look at the data, the loss, the scale of the inputs and the learning rate"
        found.append(f"It diverges at once: {steps.divergence.message}; {hint}.")
    elif not records.norm.any():
        hint = "is the loss independent of the model's outputs, or are its units dead?"
        found.append(f"All gradients are zero on all of the first {counted(len(records), 'step')}: {hint}")
    if not math.isfinite(checked.evaluation.loss):
        found.append("The loss on the evaluation split is not finite: are there NaN in it, or labels beyond the outputs?")
    return found


def require_trains(checked: Checked) -> None:
    """Raises WouldNotTrain, with what is in the way, where it would not train."""
    if found := obstacles(checked):
        raise WouldNotTrain(" ".join(found))


def warnings(checked: Checked) -> list[str]:
    """What is worth a look, though it would train."""
    return [
        *_of_builds(checked),
        *_of_repetition(checked),
        *_of_gradients(checked),
        *_of_clipping(checked),
        *(f"{timing.way} can't compile it: {timing.why_not}." for timing in checked.timings if timing.step is None),
        *_of_data(checked),
    ]


def _of_builds(checked: Checked) -> list[str]:
    config, builds = checked.config, checked.builds
    found = []
    if builds.differing:
        why = "it has a generator of its own, which gradclip can't seed. Let it take an argument called seed, and use that"
        found.append(f"Built twice with one seed it starts differently ({_named(builds.differing)}): {why}.")
    if builds.all_alike and not (isinstance(config, OwnConfig) and config.model.initial == "saved"):
        why = "does it seed itself with a constant? Seeds then differ in their batches only"
        found.append(f"Two seeds give it the same initial weights: {why}.")
    elif builds.alike and not builds.all_alike:
        why = "their initializer has a seed of its own, or they are constants"
        found.append(f"Two seeds give the same values to {_named(builds.alike)}: {why}.")
    return found


def _of_repetition(checked: Checked) -> list[str]:
    steps = checked.steps
    if not steps.differing:
        return []
    since = f"from step {steps.first_differing} on" if steps.first_differing else "in the state at the end"
    why = "something random in it has no seed (tf.random, a generator of its own), or its operations don't repeat bit by bit"
    return [f"{STEPS} steps taken twice from the same state differ {since} ({_named(steps.differing)}): {why}."]


def _of_gradients(checked: Checked) -> list[str]:
    norms, found = checked.steps.records.norm, []
    unreached = [name for name, norm in zip(checked.trained, norms.T, strict=True) if not norm.any()]
    if unreached and len(unreached) < len(checked.trained):
        found.append(f"No gradient reached {_named(unreached)} in {counted(len(norms), 'step')}.")
    if not checked.steps.divergence and (broken := int((~np.isfinite(norms).all(axis=1)).sum())):
        found.append(f"On {broken} of the first {counted(len(norms), 'step')} a gradient was not finite.")
    return found


def _of_clipping(checked: Checked) -> list[str]:
    brought = checked.brought
    if not brought or not brought.clipping or not isinstance(checked.config.clipping, Unclipped):
        return []
    clipping = _as_yaml(brought.clipping)
    return [f"The model was compiled with clipping; this config trains it without. To train with it: clipping: {clipping}"]


def _as_yaml(keys: Mapping[str, Any]) -> str:
    return (
        f"{{{', '.join(f'{key}: {value:g}' if isinstance(value, float) else f'{key}: {value}' for key, value in keys.items())}}}"
    )


def _of_data(checked: Checked) -> list[str]:
    """Findings on inputs and targets, as far as they are a question and no description."""
    told = [(each, finding) for each in checked.arrays for finding in each.findings if not _describes(each, finding)]
    prepared = not isinstance(checked.config, OwnConfig)  # what the article's network makes of its images is known
    return [f"{each.name}: {finding}." for each, finding in told if not (prepared and each.name.startswith("x"))]


def _describes(summary: Summary, finding: str) -> bool:
    return bool(summary.class_counts) and finding.startswith(f"{len(summary.class_counts)} classes")


def _named(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def variable_table(checked: Checked) -> tuple[list[str], list[list[str]]]:
    """The largest variables: headings and rows of texts."""
    largest = sorted(checked.variables, key=lambda variable: -variable.size)[:MOST_SHOWN]
    rows = [[each.name, _shape(each.shape), f"{each.size:,}", "yes" if each.trained else "no"] for each in largest]
    return ["variable", "shape", "size", "trained"], rows


def parameters(checked: Checked) -> str:
    """How many parameters the model has, in a sentence; and how many variables the table leaves out."""
    trained, others = ([each for each in checked.variables if each.trained is kind] for kind in (True, False))
    held = f"; {counted(_size(others), 'other value')} (averages, seeds, frozen layers)" if others else ""
    hidden = len(checked.variables) - MOST_SHOWN
    more = f" The {counted(hidden, 'smallest variable')} are not shown." if hidden > 0 else ""
    return f"{counted(_size(trained), 'trainable parameter')} in {counted(len(trained), 'variable')}{held}.{more}"


def _size(variables: Sequence[Variable]) -> int:
    return sum(variable.size for variable in variables)


def _shape(shape: Sequence[int]) -> str:
    return f" {TIMES} ".join(f"{length:,}" for length in shape) or "a number"


def array_table(checked: Checked) -> tuple[list[str], list[list[str]]]:
    """What is trained and evaluated on: headings and rows of texts."""
    rows = [
        [
            each.name,
            _shape(each.shape),
            each.dtype,
            f"{each.smallest:.4g} to {each.largest:.4g}",
            f"{each.mean:.4g}",
            _holds(each),
        ]
        for each in checked.arrays[:MOST_SHOWN]
    ]
    return ["array", "shape", "type", "range", "mean", "holds"], rows


def _holds(summary: Summary) -> str:
    return next((finding for finding in summary.findings if _describes(summary, finding)), "")


def facts(checked: Checked, cores: int) -> list[tuple[str, str]]:
    """What is trained and how, and what it takes here: names with texts."""
    config, records = checked.config, checked.steps.records
    losses = " to ".join(f"{loss:.4g}" for loss in records.loss[[0, -1]])
    a_run, comparison = _expected(checked, cores)
    length = f"{counted(config.training.epochs, 'epoch')} of {counted(config.training.steps_per_epoch, 'step')}"
    memory = [("peak memory", f"{checked.peak_memory / 1e6:,.0f} MB")] if checked.peak_memory else []
    return [
        ("loss", _loss(checked)),
        ("metrics", ", ".join(checked.metrics) or "none"),
        ("optimizer", _optimizer(checked)),
        ("clipping", config.clipping.full_label),
        ("chance", ", ".join(f"{name} {value:.4g}" for name, value in checked.chance.items()) or "not known for this loss"),
        (f"first {len(records)} steps", f"loss {losses}"),
        ("compiled", _ways(checked)),
        *memory,
        ("one run", f"{duration(a_run)} ({length})"),
        (f"{SEEDS} seeds {TIMES} {ARMS} arms", f"{duration(comparison)} on {counted(cores, 'core')}"),
    ]


def duration(seconds: float) -> str:
    """A time in words, such as about 3 minutes."""
    if seconds < 90:
        return f"about {counted(max(1, round(seconds)), 'second')}"
    return f"about {seconds / 60:.0f} minutes" if seconds < 90 * 60 else f"about {seconds / 3600:.1f} hours"


def _expected(checked: Checked, cores: int) -> tuple[float, float]:
    return checked.seconds(1), checked.seconds(SEEDS * ARMS, arms=ARMS, workers=cores)


def _loss(checked: Checked) -> str:
    config, brought = checked.config, checked.brought
    if isinstance(config, OwnConfig) and config.loss.label == COMPILED:
        return f"{brought.loss if brought and brought.loss else 'its own'} (compiled)"
    arguments = ", ".join(f"{key}={value}" for key, value in getattr(config.loss, "arguments", {}).items())
    return f"{config.loss.label}{f'({arguments})' if arguments else ''}"


def _optimizer(checked: Checked) -> str:
    config, brought = checked.config, checked.brought
    if config.optimizer.name != COMPILED or not brought or not brought.optimizer:
        return config.optimizer.label
    rate = brought.optimizer.get("learning_rate")
    named = "with settings that no config has" if brought.optimizer["name"] == COMPILED else str(brought.optimizer["name"])
    return f"{config.optimizer.label}: {named}{f' at {rate:g}' if rate and not config.optimizer.learning_rate else ''}"


def _ways(checked: Checked) -> str:
    timed = [f"{each.way} {_milliseconds(each)}" for each in checked.timings]
    return f"as {checked.compiled}; a step takes: {', '.join(timed)}"


def _milliseconds(timing: Timing) -> str:
    return "can't be compiled" if timing.step is None else f"{1000 * timing.step:.3g} ms"


def conclusion(checked: Checked) -> str:
    """In a sentence, whether it would train, where nothing is in the way."""
    found = len(warnings(checked))
    return "It would train." if not found else f"It would train; {counted(found, 'thing')} above may be worth a look."


def to_dict(checked: Checked, cores: int) -> dict[str, Any]:
    """All that was found, for JSON."""
    config, records = checked.config, checked.steps.records
    a_run, comparison = _expected(checked, cores)
    trained = [each for each in checked.variables if each.trained]
    found = {
        "config": config.name,
        "seed": config.training.seed,
        "framework": config.engine.framework,
        "would_train": not obstacles(checked),
        "obstacles": obstacles(checked),
        "warnings": warnings(checked),
        "remarks": list(checked.remarks),
        "model": config.model.label,
        "trainable_parameters": _size(trained),
        "other_values": _size(checked.variables) - _size(trained),
        "variables": [{"name": each.name, "shape": list(each.shape), "trained": each.trained} for each in checked.variables],
        "data": [_array_as_dict(each) for each in checked.arrays],
        "loss": _loss(checked),
        "metrics": dict(checked.metrics),
        "optimizer": _optimizer(checked),
        "clipping": config.clipping.model_dump(mode="json"),
        "clipping_of_the_model": dict(checked.brought.clipping) if checked.brought and checked.brought.clipping else None,
        "chance": dict(checked.chance),
        "losses": records.loss.tolist(),
        "gradient_norms": records.global_norm.tolist(),
        "compiled": checked.compiled,
        "seconds_a_step": {each.way: each.step for each in checked.timings},
        "peak_memory_bytes": checked.peak_memory,
        "expected_seconds": {"one run": a_run, "comparison": comparison, "seeds": SEEDS, "arms": ARMS, "cores": cores},
        "repeats": not checked.steps.differing and not checked.builds.differing,
    }
    return finite(found)  # type: ignore[no-any-return]


def _array_as_dict(summary: Summary) -> dict[str, Any]:
    return {
        "name": summary.name,
        "shape": list(summary.shape),
        "type": summary.dtype,
        "smallest": summary.smallest,
        "largest": summary.largest,
        "mean": summary.mean,
        "findings": list(summary.findings),
    }
