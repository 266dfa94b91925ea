"""What a reader may want to take from a page: commands, configs, and the verdicts as a table, each as plain text."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from xml.etree.ElementTree import Element

import yaml

from gradclip_cli.config.schema import Config
from gradclip_cli.config.seeds import seed_list
from gradclip_cli.evidence import pasted
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.metrics import usual_metric
from gradclip_cli.pages.elements import details, element, section


def to_copy(compared: Comparison) -> Element:
    """The section of what can be copied; each part is closed at first."""
    arms = [report.arm for report in compared.arms]
    table = [("The verdicts as CSV, unrounded", pasted.to_csv(compared)), ("The verdicts as LaTeX", pasted.to_latex(compared))]
    parts = [
        ("The commands", "\n".join(_commands(compared))),
        *((f"The config of {arm.name}", config_text(arm.config)) for arm in arms),
        *table,
    ]
    return section("copy", "To copy", *(plain(summary, text) for summary, text in parts))


def plain(summary: str, text: str) -> Element:
    """A text to copy, as it is, under its summary."""
    return details(summary, element("pre", element("code", text.rstrip("\n")), tabindex="0"), class_="copy")


def _commands(compared: Comparison) -> list[str]:
    """How the runs are trained anew from the configs here, unless a loop of its own did, and compared."""
    arms = [report.arm for report in compared.arms]
    trained = [] if any(run.recorded for arm in arms for run in arm.runs) else [f"{_run(arms)} --results DIR"]
    named = shlex.join(arm.name for arm in arms)
    metric, usual = compared.metric.name, usual_metric(arms[0].metrics, evaluated=arms[0].evaluated).name
    options = f" --baseline {shlex.quote(arms[0].name)}{'' if metric == usual else f' --metric {shlex.quote(metric)}'}"
    return [*trained, f"gradclip compare {named} --results DIR{options}", f"gradclip report {named} --results DIR{options}"]


def _run(arms: Sequence[Arm]) -> str:
    seeds = seed_list(sorted({seed for arm in arms for seed in arm.seeds})).replace(" ", "")
    return f"gradclip run {shlex.join(f'{arm.name}.yaml' for arm in arms)} --seeds {seeds}"


def config_text(config: Config) -> str:
    """A config as a file of it may say it, without the seed."""
    content = config.model_dump(mode="json", exclude={"training": {"seed"}})
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
