"""A run's page: how it ended and what its gradients were like, by epoch, step by step and by variable, and what it was."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from gradclip_cli import plots
from gradclip_cli.errors import StoreError
from gradclip_cli.evidence import described, figures, inspection
from gradclip_cli.evidence.arms import StoredRun, alone
from gradclip_cli.evidence.comparison import Comparison, compare_arms, with_gradients
from gradclip_cli.evidence.inspection import Inspection
from gradclip_cli.gradients.scopes import EACH_ELEMENT
from gradclip_cli.pages import interactive, sections, steps
from gradclip_cli.pages.elements import definitions, element, section, table
from gradclip_cli.pages.pictures import inlined, panel_pictures
from gradclip_cli.pages.provenance import provenance_of
from gradclip_cli.pages.shape import DRAWN, Page
from gradclip_cli.pages.steps import SHARES, Trace
from gradclip_cli.pages.to_copy import config_text, plain
from gradclip_cli.pages.words import column, explained
from gradclip_cli.runs.epochs import Epochs
from gradclip_cli.runs.metadata import FINISHED
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.texts import counted, percent

OF_ONE_RUN = "A line is this run; norms are drawn with the median and the largest of each part of its steps."


@dataclass(frozen=True)
class Seen:
    """All that is read of a run: what is missing or broken is None, and why is among the warnings."""

    run: StoredRun
    inspected: Inspection | None
    trace: Trace | None
    alone: Comparison | None
    """The run as an arm of its own; None where it is not finished."""
    warnings: tuple[str, ...]

    @property
    def name(self) -> str:
        """The run as a title has it."""
        return f"{self.run.directory.arm}, seed {self.run.seed}"


def seen(directory: RunDirectory) -> Seen:
    """Read a run. Raises StoreError where its `run.json` or its config can't be read."""
    metadata, config = directory.stored()
    warnings: list[str] = []
    compared, run = None, StoredRun(directory, config, metadata, Epochs.none())
    if metadata["status"] in FINISHED:
        arm = alone(directory)
        [run] = arm.runs
        compared = with_gradients(compare_arms([arm]))
    inspected = trace = None
    if not directory.has("steps.csv"):
        warnings.append(f"steps.csv is not {'in the pack' if directory.packed else 'there'}, so its steps can't be looked at.")
    else:
        try:
            inspected, trace = inspection.inspect(directory), steps.trace(run, directory.arm)
        except StoreError as error:
            warnings.append(f"No diagnosis: {error}")
    return Seen(run, inspected, trace, compared, tuple(warnings))


def of(directory: RunDirectory) -> Page:
    """The page of a run, be it unfinished. Raises StoreError as `seen` does."""
    found = seen(directory)
    compared, panels = found.alone, figures.panels(found.alone) if found.alone else []
    parts = [
        *([_health(found.inspected)] if found.inspected else []),
        *([_by_epoch(found), sections.curves(panels, panel_pictures(panels), OF_ONE_RUN)] if compared else []),
        *([_step_by_step(found.trace)] if found.trace else []),
        *([_variables(found.inspected)] if found.inspected else []),
        *_not_known(found),
        _what_it_was(found),
        _to_copy(found),
        provenance_of([found.run]),
    ]
    traces = [found.trace] if found.trace else []
    drawn = {DRAWN: interactive.data(compared, panels, traces)} if compared and interactive.is_installed() else {}
    return Page(found.name, answer(found), parts, held=drawn)


def answer(found: Seen) -> list[str]:
    """How the run ended and what its gradients were, in words."""
    metadata, warnings = found.run.metadata, list(found.warnings)
    if found.inspected is None:
        word = (metadata.get("health") or {}).get("word")
        return [_ended(found, f" While it trained, its gradients were called {word}." if word else ""), *warnings]
    health = found.inspected.diagnosis
    told = "" if health.word == "diverged" else f" Its gradients: {health.message}."
    return [_ended(found, told), f"Clipping: {inspection.clipping(found.inspected)}.", *warnings]


def _ended(found: Seen, then: str) -> str:
    metadata = found.run.metadata
    status, why = metadata["status"], metadata.get("reason")
    if status == "diverged":
        return f"This run diverged: {metadata['diverged']['told']}.{then}"
    if status in FINISHED:
        return f"This run is {status}.{then}"
    return f"This run is not finished ({status}{f': {why}' if why else ''}).{then}"


def _health(inspected: Inspection) -> Element:
    """The diagnosis in sentences, and the picture of the steps that it rests on."""
    pairs = [(heading, explained(told)) for heading, told in inspection.lines(inspected)]
    picture = sections.image(inlined(plots.gradients_figure(inspection.trace(inspected))), _drawn(inspected))
    caption = element(
        "figcaption",
        explained(f"By {inspected.a_step}, in at most {inspection.BINS:,} parts: the middle and the largest norm of each part."),
    )
    return section("health", "Its gradients", definitions(pairs), element("figure", picture, caption))


def _drawn(inspected: Inspection) -> str:
    health = inspected.diagnosis
    return (
        f"The gradient norm by step before and after clipping, each variable's, and the loss: {health.word}, median norm "
        f"{health.median:.3g}, largest {health.largest:.3g}."
    )


def _by_epoch(found: Seen) -> Element:
    """The table of epochs, as metrics.csv has them."""
    frame = found.run.directory.metrics().dropna(axis="columns", how="all")
    rows = [[str(int(row[0])), *(f"{value:.4g}" for value in row[1:])] for row in frame.itertuples(index=False)]
    note = "Columns are named as in metrics.csv; grad_norm is of the global norm before clipping."
    return section(
        "epochs",
        "The epochs in numbers",
        table("Losses, metrics and gradients of each epoch", [column(str(name)) for name in frame.columns], rows),
        element("p", explained(note), class_="note"),
    )


def _step_by_step(trace: Trace) -> Element:
    """The steps, to be looked at closely where Bokeh is, and what other thresholds had met."""
    rows = [[f"{share:.0%}", f"{trace.overall.exceeded(share):.3g}"] for share in SHARES]
    shown = counted(trace.recorded, "recorded step")
    own = f" Its own threshold is {trace.overall.threshold:g}." if trace.overall.threshold is not None else ""
    note = f"By the global norm before clipping; with another threshold this run would have gone another way.{own}"
    return section(
        "steps",
        "Step by step",
        table(f"Threshold that so many of the {shown} exceeded", ["steps", "threshold"], rows),
        element("p", explained(note), class_="note"),
        element("div", id="steps-0"),
    )


def _variables(inspected: Inspection) -> Element:
    """Each variable's norms, before and after clipping, and on how many steps it was clipped."""
    clips = inspected.config.clipping.mode != "none"
    headings = ["variable", "median norm", "largest", *(["median after clipping", "largest after"] if clips else []), "clipped"]
    rows = [list(_row(inspected, name, clips=clips)) for name in inspected.variables]
    unit = "elements" if inspected.config.clipping.scope is EACH_ELEMENT else "norms"
    note = f"Of {counted(len(inspected.bins), 'part')} of the recorded steps, by the mean of each part."
    after = " After clipping stand the largest elements, which its rule bounds." if clips and unit == "elements" else ""
    caption = "Norms of each variable's gradient"
    return section(
        "variables",
        "Each variable",
        table(caption, [column(heading) for heading in headings], rows),
        element("p", explained(note + after), class_="note"),
    )


def _row(inspected: Inspection, name: str, *, clips: bool) -> Iterator[str]:
    bins = inspected.bins
    yield name
    after = next((kind for kind in ("applied_norm", "applied_max_abs") if f"{kind}/{name}" in bins), None)
    for kind in ("norm", *([after] if clips else [])):
        values = bins[f"{kind}/{name}"] if kind else None
        yield "-" if values is None or values.isna().all() else f"{values.median():.3g}"
        yield "-" if values is None or values.isna().all() else f"{values.max():.3g}"
    counts = inspected.metadata.get("clipped_steps") or {}
    yield percent(counts[name] / inspected.diagnosis.steps) if name in counts else "-"


def _not_known(found: Seen) -> list[Element]:
    """What nobody knows of a run that its own loop trained."""
    sentences = described.unknown(found.run.metadata, found.run.config)
    if not sentences:
        return []
    told = element("p", explained("A loop of its own trained this run and gradclip only watched. What is not known of it:"))
    items = element("ul", *(element("li", explained(sentence)) for sentence in sentences))
    return [section("unknown", "What is not known", told, items)]


def _what_it_was(found: Seen) -> Element:
    run = found.run
    facts = {"status": str(run.metadata["status"]), **described.facts(run.metadata, run.config)}
    if run.directory.has(run.directory.log_path.name):
        facts["output"] = run.directory.log_path.name
    return section("trained", "What it was", definitions((subject, explained(text)) for subject, text in facts.items()))


def _to_copy(found: Seen) -> Element:
    directory, seed = found.run.directory, found.run.seed
    arm = shlex.quote(directory.arm)
    train = [] if found.run.recorded else [f"gradclip run {arm}.yaml --seeds {seed}, --results DIR"]
    commands = "\n".join([*train, f"gradclip show {arm}/seed-{seed} --results DIR"])
    return section(
        "copy",
        "To copy",
        plain("The commands", commands),
        plain(f"The config of {directory.arm}", config_text(found.run.config)),
    )
