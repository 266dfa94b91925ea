"""A try's page: its answer with the line to paste, on top of its comparison's page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import comparison
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.plans import PlanRecord, plan_on_record
from gradclip_cli.evidence.questions import Question
from gradclip_cli.experiments import trial
from gradclip_cli.pages import page
from gradclip_cli.pages.elements import element, section
from gradclip_cli.pages.shape import Page
from gradclip_cli.pages.to_copy import plain


def read(results: Path) -> Comparison:
    """The comparison that a try in this folder planned. Raises ReportError where none is on record, and as `compare` does."""
    path, plan = plan_on_record(results) or (results, None)
    if not isinstance(plan, PlanRecord) or not plan.tests:
        raise ReportError(f"{path}: no try is on record there; gradclip report ARM... --results {results} compares arms.")
    first = plan.tests[0]
    question = Question(first.metric)
    compared = comparison.compare(results, list(plan.arms), first.baseline, question, seeds=plan.seeds)
    return comparison.with_gradients(compared)


def of(compared: Comparison) -> Page:
    """The page of a try's comparison."""
    whole, configs = page.of(compared), [part.arm.config for part in compared.arms]
    conclusion = trial.conclusion(compared, configs)
    return replace(whole, answer=[conclusion, *whole.answer], sections=[_to_paste(compared), *whole.sections])


def _to_paste(compared: Comparison) -> Element:
    """How each arm's clipping is written in one's own code."""
    lines = [plain(part.arm.name, trial.line_to_paste(part.arm.config)) for part in compared.arms]
    for line in lines:
        line.set("open", "")
    return section("paste", "The line to paste", element("p", "How each arm clips, in your own code:"), *lines)
