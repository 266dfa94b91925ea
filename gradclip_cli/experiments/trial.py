"""`try`: does clipping help this model on these data? From a model to configs, a pilot, paired runs and their comparison.

The pilot's seed is left out of the runs: thresholds that were read off it would otherwise be judged on what they came from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.config.own import OwnConfig
from gradclip_cli.config.own_files import moved
from gradclip_cli.config.schema import Config
from gradclip_cli.errors import ConfigError, ConflictError, ConflictsError
from gradclip_cli.evidence import intentions, planning, samples
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.intentions import Intention
from gradclip_cli.evidence.judging import AgainstBaseline
from gradclip_cli.evidence.metrics import Metric, metric_called, names_for
from gradclip_cli.evidence.plans import PlannedTest
from gradclip_cli.evidence.verdicts import Verdict
from gradclip_cli.experiments.posing import PILOT_SEED, UNCLIPPED, Posed, is_config
from gradclip_cli.experiments.suggest import Pilot, Suggestion
from gradclip_cli.files import write_atomically, writing
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.runs import many
from gradclip_cli.runs.many import PlannedRun
from gradclip_cli.texts import counted

YOURS, SUGGESTED = "yours", "suggested"
SUGGESTIONS = 2
"""Of the rules that a pilot suggests, how many are tried: one beside a clipping of the user's own."""
INSTEAD = "Name another folder with --results, or replace what is there with --force."
WITHOUT_SUGGESTION: dict[str, Any] = {"mode": "global_clipnorm", "threshold": 1.0}
"""What is tried where the pilot suggests nothing, since its gradients exploded at once or it was too short."""
DECISION = (
    "Every arm is trained with the same seeds, which the pilot did not have; each is held against the unclipped one by the exact "
    "signed-rank test of the typical difference, Holm-adjusted over the arms."
)


def arms(posed: Posed, rules: Sequence[str], suggested: Sequence[Suggestion]) -> list[Config]:
    """A config an arm, the unclipped one first. Raises ConfigError for a rule that there isn't, or that lacks a threshold."""
    found: dict[str, Mapping[str, Any]] = {UNCLIPPED: {"mode": UNCLIPPED}}
    for rule in rules:
        if rule == YOURS:
            found |= {YOURS: posed.yours} if posed.yours else {}
        elif rule == SUGGESTED:
            few = [each.clipping for each in suggested[: SUGGESTIONS - (posed.yours is not None and YOURS in rules)]]
            found |= {_arm_name(keys): keys for keys in few or [WITHOUT_SUGGESTION] if keys != posed.yours}
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


def folder_name(model: str) -> str:
    """A try's folder in the results: its model file's name, with the function's where that isn't `build`; `try-` and a config's.

    A config's own name is its arm's, whose runs `gradclip run` would put into that very folder.
    """
    if is_config(model):
        return f"try-{Path(model).stem if model.endswith(('.yaml', '.yml')) else model.replace('/', '-')}"
    file, _, function = model.partition(":")
    stem = Path(file).stem.rpartition(".")[2] or "try"
    return f"{stem}-{function}" if function not in ("", "build") else stem


def placed_in(results: Path, configs: Sequence[Config]) -> list[Config]:
    """The configs as files in the results folder say them: their paths begin there."""
    return [moved(config, results) if isinstance(config, OwnConfig) else config for config in configs]


def write_configs(configs: Sequence[Config], results: Path, *, force: bool = False) -> list[Path]:
    """Write a YAML file an arm into the results folder. Raises ConflictError where one is there that says something else."""
    written = []
    for config in configs:
        path, text = config_file(config, results), yaml.safe_dump(_said(config), sort_keys=False)
        if not force and path.exists() and path.read_text() != text:
            raise ConflictError(f"{path}: is there and says something else. {INSTEAD}")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text)
        written.append(path)
    return written


def config_file(config: Config, results: Path) -> Path:
    """Where an arm's config is written."""
    return results / f"{config.name}.yaml"


def _said(config: Config) -> dict[str, Any]:
    """A config as somebody writes it: without what its sections leave open."""
    usual = {"records"} if config.recorded_every == 1 else set()
    whole = config.model_dump(mode="json", exclude=usual)
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
        raise error.in_short(INSTEAD) from None


def record_plan(configs: Sequence[Config], seeds: Sequence[int], results: Path, metric: Metric) -> None:
    """Write down what is planned before the first run; a plan that is there already stays. Raises StoreError."""
    tests = [PlannedTest(arm=config.name, baseline=UNCLIPPED, metric=metric.name, family="all arms") for config in configs[1:]]
    rules = {"decision": DECISION}
    intentions.record_plan(results, Intention(kind="try", configs=configs, seeds=seeds, tests=tests, rules=rules))


def metric_of(pilot: Pilot, name: str | None) -> Metric:
    """What the arms are compared by: a metric of the problem's, or the usual one. Raises ConfigError for an unknown name."""
    metric = metric_called(name, pilot.metrics)
    if metric is None:
        raise ConfigError([f"--metric {name}: no such metric. There are: {', '.join(names_for(pilot.metrics))}"])
    return metric


def fresh_seeds(count: int) -> list[int]:
    """So many seeds that the pilot didn't have."""
    return list(range(PILOT_SEED + 1, PILOT_SEED + 1 + count))


def plan_sentence(configs: Sequence[Config], seeds: int, metric: Metric, split: str) -> str:
    """Which arms are trained, and what so many seeds can show of them: in standard deviations, as nothing was trained yet.

    `split` is the one that they are evaluated on. Raises ConfigError where there is nothing to compare.
    """
    if len(configs) < 2:
        raise ConfigError(["--rules: nothing to compare with none; name a rule, such as clipnorm=1, or suggested"])
    tests, names = len(configs) - 1, ", ".join(config.name for config in configs)
    better = "higher" if metric.higher_is_better else "lower"
    names = f"{names}, compared by {metric.title.format(split=split, target=0)} ({better} is better)"
    needed = samples.seeds_for_a_verdict(tests)
    if seeds < needed:
        few = f"{counted(seeds, 'seed')} can bring no verdict on {counted(tests, 'comparison')}; {needed} can (--seeds {needed})"
        return f"Arms: {names}. {few[0].upper()}{few[1:]}."
    effect = planning.detectable_effect(1.0, seeds, tests=tests)
    return (
        f"Arms: {names}. With {counted(seeds, 'seed')} a typical difference of {effect:.1f} standard deviations of the paired "
        "differences is detected with 80% power."
    )


def line_to_paste(config: Config) -> str:
    """How an arm's clipping is written in the user's own code."""
    if config.clipping.mode == UNCLIPPED:
        return "no clipping"
    framework = FRAMEWORKS[config.engine.framework]
    without = f"{framework.title} has nothing like {config.clipping.label}: gradclip's docs/rules.md has its formula"
    return framework.clipping_line(config) or without


def suggestions_of(pilot: Pilot, found: Sequence[Suggestion]) -> list[Suggestion]:
    """Those of a pilot's suggestions that the framework clips by itself."""
    line = FRAMEWORKS[pilot.config.engine.framework].clipping_line
    return [each for each in found if line(_with_clipping(pilot.config, each.mode, each.clipping))]


def _against(compared: Comparison) -> dict[str, AgainstBaseline]:
    return {part.arm.name: part.against for part in compared.others if part.against}


def to_go_on_from(compared: Comparison, configs: Sequence[Config]) -> Config:
    """The config of the arm that did best: one that helps where there is one, the unclipped one where none did better than it."""

    def better_by(config: Config) -> tuple[bool, float]:
        against = found.get(config.name)
        if against is None or math.isnan(against.typical):
            return False, 0.0
        return against.verdict == Verdict.HELPS, against.typical if compared.metric.higher_is_better else -against.typical

    found = _against(compared)
    return max(configs, key=better_by)


def conclusion(compared: Comparison, configs: Sequence[Config]) -> str:
    """What to do: the line to paste where an arm helps, else that none does, or what a verdict takes."""
    by_name = {config.name: config for config in configs}
    found = _against(compared)
    of = {verdict: [name for name, against in found.items() if against.verdict == verdict] for verdict in Verdict}
    if helping := of[Verdict.HELPS]:
        best = max(helping, key=lambda name: abs(found[name].typical))
        size = compared.metric.unit.amount(abs(found[best].typical))
        caveat = " This look is exploratory, though: see above." if compared.exploratory else ""
        return f"Clipping helps here, {best} typically by {size}.{caveat} To paste: {line_to_paste(by_name[best])}"
    if few := of[Verdict.EXPLORATORY]:
        return f"No verdict from so few seeds: give --seeds {max(found[name].seeds_for_a_verdict for name in few)} or more."
    if hurting := of[Verdict.HURTS]:
        return f"Clipping does not help here; {', '.join(hurting)} hurts."
    if len(of[Verdict.NOT_TESTABLE]) == len(found):
        return "Nothing was tested: what kept it from that stands above."
    return "No difference was shown: leave your code as it is."


def on_yours(compared: Comparison, configs: Sequence[Config]) -> str | None:
    """What was shown of the clipping that the model brought, where what helps is another arm; else None."""
    yours, best = _against(compared).get(YOURS), to_go_on_from(compared, configs)
    if yours is None or best.name in (YOURS, UNCLIPPED) or _against(compared)[best.name].verdict != Verdict.HELPS:
        return None
    [label] = [config.clipping.label for config in configs if config.name == YOURS]
    return f"Yours, {label}: {yours.verdict}, typically {compared.metric.unit.amount(yours.typical, sign=True)}."
