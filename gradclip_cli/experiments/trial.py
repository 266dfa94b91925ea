"""`try`: does clipping help this model on these data? From a model to configs, a pilot, paired runs and their comparison.

The pilot's seed is left out of the runs: thresholds that were read off it would otherwise be judged on what they came from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gradclip_cli import engines
from gradclip_cli.config import loading
from gradclip_cli.config.own import COMPILED, OwnConfig
from gradclip_cli.config.own_files import moved
from gradclip_cli.config.schema import Config
from gradclip_cli.errors import ConfigError, ConflictError, ConflictsError
from gradclip_cli.evidence import intentions, planning, samples
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.intentions import Intention
from gradclip_cli.evidence.metrics import usual_metric
from gradclip_cli.evidence.plans import PlannedTest
from gradclip_cli.evidence.verdicts import Verdict
from gradclip_cli.experiments.suggest import Pilot, Suggestion
from gradclip_cli.files import write_atomically, writing
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.gradients.rules.none import Unclipped
from gradclip_cli.problems import own, problem_of
from gradclip_cli.problems.contract import Dataset
from gradclip_cli.problems.own import given
from gradclip_cli.problems.own.brought import Brought
from gradclip_cli.problems.own.likely_losses import likely_loss
from gradclip_cli.runs import many
from gradclip_cli.runs.many import PlannedRun
from gradclip_cli.texts import counted

UNCLIPPED, YOURS, SUGGESTED = "none", "yours", "suggested"
USUAL_RULES = (UNCLIPPED, YOURS, SUGGESTED)
USUAL_OPTIMIZER: Mapping[str, Any] = {"name": "adam", "learning_rate": 0.001}
MOST_STEPS_AN_EPOCH = 500
USUAL_EPOCHS = 5
USUAL_BATCH = 32
PILOT_SEED = 0
SUGGESTIONS = 2
"""Of the rules that a pilot suggests, how many are tried: one beside a clipping of the user's own."""
DECISION = (
    "Every arm is trained with the same seeds, which the pilot did not have; each is held against the unclipped one by the exact "
    "signed-rank test of the typical difference, Holm-adjusted over the arms."
)


@dataclass(frozen=True)
class Wishes:
    """What was asked for; None is left to what the model brings, else to a default."""

    model: str
    data: str | None = None
    loss: str | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    framework: str | None = None


@dataclass(frozen=True)
class Posed:
    """A problem, unclipped, the clipping that its model brought, and sentences on what was chosen and why."""

    config: Config
    yours: Mapping[str, Any] | None
    choices: Sequence[str] = field(default_factory=tuple)


def pose(wishes: Wishes, tell: Callable[[str], None] = lambda what: None) -> Posed:
    """The problem that was asked for, with everything that was not said filled in: the model is built for that.

    `tell` hears what is being done. Raises ConfigError, DatasetError, EngineError and OwnCodeError.
    """
    if _is_config(wishes.model):
        return _posed_by_config(wishes)
    model = given.model_keys(wishes.model)
    framework = wishes.framework or given.framework_of(model)
    keys: dict[str, Any] = {
        "name": UNCLIPPED,
        "engine": {"framework": framework},
        "data": given.data_keys(model, wishes.data),
        "model": model,
        "clipping": {"mode": UNCLIPPED},
    }
    first = _config(keys)
    tell(f"importing {framework}")
    engines.imported(framework)
    tell("loading the data")
    dataset = problem_of(first).load()
    tell("building the model")
    brought = own.brought(first, dataset)
    choices = _complete(keys, wishes, dataset, brought)
    return Posed(_config(keys), brought.clipping, choices)


def _is_config(model: str) -> bool:
    return model.endswith((".yaml", ".yml")) or (":" not in model and loading.find(model) is not None and not Path(model).suffix)


def _posed_by_config(wishes: Wishes) -> Posed:
    wanted = {
        "loss": wishes.loss,
        "optimizer.name": wishes.optimizer,
        "optimizer.learning_rate": wishes.learning_rate,
        "data.batch_size": wishes.batch_size,
        "training.epochs": wishes.epochs,
        "engine.framework": wishes.framework,
        "data.npz": wishes.data,
    }
    settings = [f"{key}={value}" for key, value in wanted.items() if value is not None]
    config = loading.load(wishes.model, settings)
    yours = None if config.clipping.mode == UNCLIPPED else config.clipping.model_dump(mode="json")
    unclipped = config.model_copy(update={"name": UNCLIPPED, "clipping": Unclipped()})
    return Posed(unclipped, yours)


def _config(keys: Mapping[str, Any]) -> OwnConfig:
    config = loading.from_text(yaml.safe_dump(dict(keys), sort_keys=False), "try")
    assert isinstance(config, OwnConfig)
    return config


def _complete(keys: dict[str, Any], wishes: Wishes, dataset: Dataset, brought: Brought) -> list[str]:
    """Fill in what was not asked for, and say why."""
    choices = []
    batch = wishes.batch_size or min(USUAL_BATCH, dataset.samples)
    if batch > dataset.samples:
        raise ConfigError([f"--batch-size {batch}: there are only {dataset.samples} samples to train on"])
    steps = max(1, min(MOST_STEPS_AN_EPOCH, dataset.samples // batch))
    epochs = wishes.epochs or USUAL_EPOCHS
    keys["data"] = {**keys["data"], "batch_size": batch}
    keys["training"] = {"epochs": epochs, "steps_per_epoch": steps, "seed": PILOT_SEED}
    once = "once through the training samples" if steps * batch > dataset.samples - batch else f"of {batch} samples"
    choices.append(f"{counted(epochs, 'epoch')} of {counted(steps, 'step')}, each epoch {once}")
    keys["loss"], why = _loss(wishes, dataset, brought)
    choices.append(f"loss {why}")
    keys["optimizer"], whose = _optimizer(wishes, brought)
    choices.append(f"optimizer {whose}")
    return choices


def _loss(wishes: Wishes, dataset: Dataset, brought: Brought) -> tuple[dict[str, Any], str]:
    if wishes.loss:
        return ({"factory": wishes.loss} if ":" in wishes.loss else {"name": wishes.loss}), f"{wishes.loss}, as you said"
    if brought.has_loss:
        return {"name": COMPILED}, "yours: that which the model was compiled with"
    name, why = likely_loss(brought.output_shape, dataset.train_targets)
    return {"name": name}, f"{name}, since {why} (--loss says another)"


def _optimizer(wishes: Wishes, brought: Brought) -> tuple[dict[str, Any], str]:
    rate = {} if wishes.learning_rate is None else {"learning_rate": wishes.learning_rate}
    if wishes.optimizer:
        return {"name": wishes.optimizer, **rate}, f"{wishes.optimizer}, as you said"
    if brought.optimizer:
        chosen = {**brought.optimizer, **rate}
        return chosen, f"yours: {chosen['name']}" + (f" at {chosen['learning_rate']:g}" if "learning_rate" in chosen else "")
    chosen = {**USUAL_OPTIMIZER, **rate}
    return chosen, f"{chosen['name']} at {chosen['learning_rate']:g} (--optimizer and --learning-rate say others)"


def arms(posed: Posed, rules: Sequence[str], suggested: Sequence[Suggestion]) -> list[Config]:
    """A config an arm, the unclipped one first. Raises ConfigError for a rule that there isn't, or that lacks a threshold."""
    found: dict[str, Mapping[str, Any]] = {UNCLIPPED: {"mode": UNCLIPPED}}
    for rule in rules:
        if rule == YOURS:
            found |= {YOURS: posed.yours} if posed.yours else {}
        elif rule == SUGGESTED:
            few = suggested[: SUGGESTIONS - (posed.yours is not None and YOURS in rules)]
            found |= {_arm_name(each.clipping): each.clipping for each in few if each.clipping != posed.yours}
        elif rule != UNCLIPPED:
            keys = _rule_keys(rule)
            found[_arm_name(keys)] = keys
    return [_with_clipping(posed.config, name, keys) for name, keys in found.items()]


def _rule_keys(rule: str) -> dict[str, Any]:
    mode, equals, threshold = rule.partition("=")
    if mode not in RULES:
        raise ConfigError([f"--rules {rule}: no such rule. Known: {YOURS}, {SUGGESTED}, {', '.join(RULES)}; as in clipnorm=1"])
    try:
        return {"mode": mode, **({"threshold": float(threshold)} if equals else {})}
    except ValueError:
        raise ConfigError([f"--rules {rule}: {threshold!r} is no number; write it as in {mode}=1"]) from None


def _arm_name(clipping: Mapping[str, Any]) -> str:
    values = "-".join(f"{value:g}" if isinstance(value, float) else str(value) for value in clipping.values())
    return re.sub(r"[^A-Za-z0-9._=,+-]+", "-", values)


def _with_clipping(config: Config, name: str, keys: Mapping[str, Any]) -> Config:
    mode = str(keys["mode"])
    try:
        rule = RULES[mode].model_validate(dict(keys))
    except ValueError:
        raise ConfigError([f"--rules {mode}: it needs a threshold; write {mode}=1, or {SUGGESTED}"]) from None
    return config.model_copy(update={"name": name, "clipping": rule})


def write_configs(configs: Sequence[Config], results: Path) -> list[Config]:
    """Write a YAML file an arm into the results folder, and return the configs as these files say them. Raises StoreError."""
    there = [moved(config, results) if isinstance(config, OwnConfig) else config for config in configs]
    for config in there:
        path = results / f"{config.name}.yaml"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, yaml.safe_dump(_said(config), sort_keys=False))
    return there


def _said(config: Config) -> dict[str, Any]:
    """A config as somebody writes it: without what its sections leave open."""
    whole = config.model_dump(mode="json")
    sparse = {
        name: {key: value for key, value in whole[name].items() if value is not None and value != {}}
        for name in ("data", "model", "loss")
    }
    return {name: sparse.get(name, value) for name, value in whole.items() if value is not None}


def plan(configs: Sequence[Config], seeds: Sequence[int], results: Path, *, force: bool = False) -> list[PlannedRun]:
    """Plan the runs, writing nothing. Raises ConflictError where the folder holds runs of other configs."""
    try:
        return many.plan(configs, seeds, results, force=force)
    except ConflictsError as error:
        first, *others = error.conflicts
        and_more = f", and {len(others)} more" if others else ""
        instead = "Name another folder with --results, or replace its old runs with --force."
        raise ConflictError(f"{first.what}{and_more}. {instead}") from None


def record_plan(configs: Sequence[Config], seeds: Sequence[int], results: Path, metrics: Mapping[str, bool]) -> None:
    """Write down what is planned before the first run; a plan that is there already stays. Raises StoreError.

    `metrics` are the problem's, each with whether higher is better: arms are compared by the usual one of them.
    """
    metric = usual_metric(metrics).name
    tests = [PlannedTest(arm=config.name, baseline=UNCLIPPED, metric=metric, family="all arms") for config in configs[1:]]
    rules = {"decision": DECISION}
    intentions.record_plan(results, Intention(kind="try", configs=configs, seeds=seeds, tests=tests, rules=rules))


def fresh_seeds(count: int) -> list[int]:
    """So many seeds that the pilot didn't have."""
    return list(range(PILOT_SEED + 1, PILOT_SEED + 1 + count))


def what_a_plan_detects(seeds: int, tests: int) -> str:
    """What so many seeds can show, before any was trained: in standard deviations of the paired differences."""
    needed = samples.seeds_for_a_verdict(tests)
    if seeds < needed:
        return (
            f"With {counted(seeds, 'seed')} no verdict can come: {counted(tests, 'comparison')} take {needed} (--seeds {needed})."
        )
    effect = planning.detectable_effect(1.0, seeds, tests=tests)
    return (
        f"{counted(seeds, 'seed')} detect, with 80% power, a typical difference of {effect:.1f} standard deviations of the "
        f"differences between paired runs; a verdict takes at least {needed}."
    )


def line_to_paste(config: Config) -> str:
    """How an arm's clipping is written in the user's own code, where his framework has the rule."""
    rule, threshold = config.clipping, config.clipping.threshold_of_all
    if rule.mode == UNCLIPPED:
        return "no clipping"
    if config.engine.framework == "pytorch":
        if rule.pytorch_function:
            return f"torch.nn.utils.{rule.pytorch_function}(model.parameters(), {threshold:g})  # between backward() and step()"
    elif rule.keras_argument:
        return _keras_line(config, f"{rule.keras_argument}={threshold:g}")
    return f"clipping: {{mode: {rule.mode}}}, which your framework has no argument for; README describes the rule"


def _keras_line(config: Config, argument: str) -> str:
    name = config.optimizer.name
    if name == COMPILED:
        return f"{argument}, as an argument of your optimizer"
    title = config.optimizer.label.split()[0]
    return f"keras.optimizers.{title}({config.optimizer.learning_rate:g}, {argument})"


def suggestions_of(pilot: Pilot, found: Sequence[Suggestion]) -> list[Suggestion]:
    """Those of a pilot's suggestions that the framework clips by itself, each rule once."""
    framework = pilot.config.engine.framework
    return [
        each
        for each in found
        if (RULES[each.mode].pytorch_function if framework == "pytorch" else RULES[each.mode].keras_argument) is not None
    ]


def conclusion(compared: Comparison, configs: Sequence[Config]) -> str:
    """What to do: the line to paste where an arm helps, else that none does, or that more seeds are needed."""
    by_name = {config.name: config for config in configs}
    helping = [part for part in compared.others if part.against and part.against.verdict == Verdict.HELPS]
    if helping:
        best = max(helping, key=lambda part: abs(part.against.typical) if part.against else 0.0)
        return f"Clipping helps here. To paste: {line_to_paste(by_name[best.arm.name])}"
    undecided = [part.against for part in compared.others if part.against and part.against.verdict == Verdict.EXPLORATORY]
    if undecided:
        return f"No verdict from so few seeds: give --seeds {max(against.seeds_for_a_verdict for against in undecided)} or more."
    hurting = [part.arm.name for part in compared.others if part.against and part.against.verdict == Verdict.HURTS]
    if hurting:
        return f"Clipping does not help here; {', '.join(hurting)} hurts."
    return "No difference was shown: leave your code as it is."
