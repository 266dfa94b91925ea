"""A comparison's page: its answer and verdicts, what they rest on, curves and steps, and where all came from."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from gradclip_cli.evidence import figures
from gradclip_cli.evidence.comparison import Comparison, with_gradients
from gradclip_cli.pages import interactive, looks, sections, shape, steps
from gradclip_cli.pages.answer import answer, badges, title
from gradclip_cli.pages.pictures import differences_picture, panel_pictures
from gradclip_cli.pages.provenance import provenance
from gradclip_cli.pages.shape import Page
from gradclip_cli.pages.to_copy import to_copy


def of(compared: Comparison) -> Page:
    """The page of a comparison."""
    compared = compared if compared.gradients else with_gradients(compared)
    panels, traced = figures.panels(compared), steps.traces(compared)
    note = f"{sections.MANY_RUNS} {interactive.thinned(panels)}".rstrip()
    parts = [
        *(_of_verdicts(compared) if compared.others else []),
        sections.what_was_trained(compared),
        sections.runs(compared),
        sections.curves(panels, panel_pictures(panels), note),
        *([steps.step_by_step(traced, steps.stored(compared))] if traced else []),
        sections.to_mind(compared),
        to_copy(compared),
        provenance(compared),
    ]
    held = {"looks": looks.data(compared)} if compared.others else {}
    held |= {shape.DRAWN: interactive.data(compared, panels, traced)} if interactive.is_installed() else {}
    return Page(title(compared), answer(compared), parts, beneath=[badges(compared)], held=held)


def page(compared: Comparison) -> str:
    """The page's content; the same runs give the same bytes."""
    return of(compared).html()


def _of_verdicts(compared: Comparison) -> list[Element]:
    return [sections.verdicts(compared), sections.differences(compared, differences_picture(compared))]


def write(compared: Comparison, path: Path) -> None:
    """Write a comparison's page. Raises StoreError as `shape.save` does."""
    shape.require_ours(path)
    shape.save(page(compared), path)
