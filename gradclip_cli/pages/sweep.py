"""A sweep's page: its map, whose cells open the runs that they rest on, each row's best, and the comparison at these."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from gradclip_cli import plots
from gradclip_cli.config.grids import CLIPPING, Axis
from gradclip_cli.config.seeds import seed_list
from gradclip_cli.evidence import figures, report
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.comparison import with_gradients
from gradclip_cli.evidence.judging import ArmReport
from gradclip_cli.evidence.samples import Sample
from gradclip_cli.experiments import sweep_report
from gradclip_cli.experiments.choice import best_of
from gradclip_cli.experiments.sweep import Result, Row
from gradclip_cli.pages import blocks, interactive, maps, sections
from gradclip_cli.pages.answer import answer as answer_of_comparison
from gradclip_cli.pages.answer import badges
from gradclip_cli.pages.elements import definitions, element, section, table
from gradclip_cli.pages.maps import Cell
from gradclip_cli.pages.pictures import differences_picture, panel_pictures
from gradclip_cli.pages.provenance import provenance_of
from gradclip_cli.pages.shape import DRAWN, Page
from gradclip_cli.pages.to_copy import config_text, plain
from gradclip_cli.pages.words import column, explained
from gradclip_cli.plots import Panel
from gradclip_cli.texts import counted, percent

MOST_PICTURES = 100
"""Of so many cells each has its curves drawn; of more only each row's best one."""


@dataclass(frozen=True)
class _Place:
    """A cell of the map: its row and column, and its number on the page, from 1."""

    row: Row
    column: int
    number: int

    @property
    def arm(self) -> Arm:
        return self.row.arms[self.column]

    @property
    def id(self) -> str:
        return f"cell-{self.number}"

    @property
    def curves_id(self) -> str:
        return f"{self.id}-curves"

    @property
    def is_best(self) -> bool:
        return self.row.best == self.column

    @property
    def label(self) -> str:
        """Such as `clipnorm 1 at learning rate 0.1`."""
        return f"{self.row.label} at {self.row.columns.title} {self.row.columns.labels[self.column]}"

    def panel(self) -> Panel:
        """Its runs' curves of what is scored."""
        return figures.metric_panel([self.arm], self.row.metric)

    def shown(self) -> str:
        """Its score in the metric's unit."""
        unit = self.row.metric.unit
        return f"{unit.shown(self.row.scores[self.column])}{unit.of_values or f' {unit.name}'.rstrip()}"


def of(result: Result) -> Page:
    """The page of a sweep."""
    best = with_gradients(result.best) if result.best else None
    panels = figures.panels(best) if best else []
    places = _places(result)
    drawn = {place.curves_id: place.panel() for place in places if len(places) <= MOST_PICTURES or place.is_best}
    parts = [
        _map(result, places),
        _bests(result),
        *([sections.verdicts(best), sections.differences(best, differences_picture(best))] if best else []),
        *([sections.curves(panels, panel_pictures(panels))] if best else []),
        _trained(result),
        _cells(result, places, drawn),
        *blocks.parts(result.adherence.parts(), "plan"),
        _to_copy(result),
        provenance_of([run for arm in _arms(result) for run in arm.runs]),
    ]
    held = {DRAWN: interactive.data_of_panels(drawn, best, panels)} if interactive.is_installed() else {}
    arms, seeds = counted(len(result.sweep.cells), "arm"), counted(len(result.sweep.seeds), "seed")
    title = f"{result.sweep.name}: {arms}, {seeds} each"
    return Page(title, answer(result), parts, beneath=[badges(best)] if best else [], held=held)


def answer(result: Result) -> list[str]:
    """What the comparison at the rows' best says, and which cell of the grid is the best."""
    compared = answer_of_comparison(result.best) if result.best else []
    return [*compared, _best_sentence(result)]


def _best_sentence(result: Result) -> str:
    places = [place for place in _places(result) if place.is_best]
    found = best_of(result.metric, [place.row.scores[place.column] for place in places])
    if found is None:
        return "Nothing of the grid was better than chance."
    place = places[found]
    arm = place.arm
    diverged = f", {int(arm.diverged.sum())} of them diverged" if arm.diverged.any() else ""
    return (
        f"Best of the grid: {place.label}, with {place.shown()} {result.metric.title} on average over "
        f"{counted(len(arm.runs), 'seed')}{diverged}."
    )


def _places(result: Result) -> list[_Place]:
    cells = [(row, index) for row in result.rows for index in range(len(row.arms))]
    return [_Place(row, index, number) for number, (row, index) in enumerate(cells, 1)]


def _arms(result: Result) -> list[Arm]:
    return [
        *(arm for row in result.rows for arm in row.arms),
        *(part.arm for part in (result.best.arms if result.best else [])),
    ]


# The map.


def _map(result: Result, places: Sequence[_Place]) -> Element:
    """A table of rows and columns; a table for each value of further axes."""
    shades = [shade for row in plots.stability_shades(sweep_report.stability(result)) for shade in row]
    cells = {id(place.row): [] for place in places}  # type: dict[int, list[Cell]]
    for place, shade in zip(places, shades, strict=True):
        cells[id(place.row)].append(_cell(place, shade))
    axis = result.sweep.columns
    tables = [
        maps.grid(_caption(result, told), axis.title, axis.labels, [(label, cells[id(row)]) for label, row in rows])
        for told, rows in _slices(result)
    ]
    way = "higher" if result.metric.higher_is_better else "lower"
    mean = f"Mean {result.metric.title} over seeds {seed_list(result.sweep.seeds)}"
    note = f"{mean}; {way} is better, and brighter. Each row's best is framed. A cell leads to its runs."
    return section("map", "The map", *tables, element("p", explained(note), class_="note"))


def _caption(result: Result, told: str) -> str:
    heading = result.metric.heading
    return f"{heading[:1].upper()}{heading[1:]} by {result.sweep.columns.title}{f', {told}' if told else ''}"


def _slices(result: Result) -> Iterator[tuple[str, list[tuple[str, Row]]]]:
    """For each combination of the axes beyond two, what it is and its rows, labelled by what is left."""
    axes = result.sweep.row_axes
    if len(axes) < 2:
        yield "", [(row.label, row) for row in result.rows]
        return
    across = next((axis for axis in axes if axis.key == CLIPPING), axes[-1])
    found: dict[str, list[tuple[str, Row]]] = {}
    for row in result.rows:
        chosen = dict(zip((axis.key for axis in result.sweep.axes), row.cells[0].places, strict=True))
        told = ", ".join(_value(axis, chosen[axis.key]) for axis in axes if axis is not across)
        found.setdefault(told, []).append((_value(across, chosen[across.key]), row))
    yield from found.items()


def _value(axis: Axis, place: int) -> str:
    label = axis.values[place].label
    return label if axis.key == CLIPPING else f"{axis.title} {label}"


def _cell(place: _Place, shade: str | None) -> Cell:
    diverged, runs = int(place.arm.diverged.sum()), len(place.arm.runs)
    lines = [place.row.metric.unit.shown(place.row.scores[place.column])]
    lines += [f"{diverged} of {runs} diverged"] if diverged else []
    edge = ", at the edge" if place.is_best and place.row.at_edge else ""
    return Cell(lines, shade, place.id, f"best{edge}" if place.is_best else "")


# What cells rest on.


def _cells(result: Result, places: Sequence[_Place], panels: Mapping[str, Panel]) -> Element:
    note = "Each cell's seeds, curves and config. What was compared at the rows' best are other runs, with fresh seeds."
    few = "" if len(panels) == len(places) else f" Of more than {MOST_PICTURES} cells only each row's best has its curves here."
    said = note if result.best else "The seeds, curves and config of each cell."
    told = element("p", explained(f"{said}{few} {interactive.thinned(panels.values())}".rstrip()), class_="note")
    opened = [maps.opens(place.id, _summary(place), *_inside(result, place, panels.get(place.curves_id))) for place in places]
    return section("cells", "What each cell rests on", told, *opened)


def _summary(place: _Place) -> str:
    return f"{place.label}: {place.shown()}{' (best of its row)' if place.is_best else ''}"


def _inside(result: Result, place: _Place, panel: Panel | None) -> Iterator[Element]:
    arm, metric = place.arm, place.row.metric
    scores = metric.scores(arm) * metric.unit.scale
    yield definitions((subject, explained(text)) for subject, text in _facts(result, place, scores))
    rows = [
        [str(run.seed), metric.unit.shown(float(score)), str(run.metadata["status"])]
        for run, score in zip(arm.runs, scores, strict=True)
    ]
    heading = metric.heading
    caption = f"{heading[:1].upper()}{heading[1:]} of each seed, as scored"
    seeds = table(caption, [column("seed"), heading, "status"], rows, texts=(0, 2))
    yield element("div", seeds, *([_curves(place, panel)] if panel else []), class_="beside")
    yield plain(f"The config of {arm.name}", config_text(arm.config))


def _curves(place: _Place, panel: Panel) -> Element:
    alt = f"{panel.title} of {place.label} by epoch, a thin line a seed, a thick one for what is typical."
    return sections.drawn(place.curves_id, panel, alt)


def _facts(result: Result, place: _Place, scores: np.ndarray) -> Iterator[tuple[str, str]]:
    unit, runs = place.row.metric.unit, len(place.arm.runs)
    yield "arm", place.arm.name
    yield "on average", place.shown()
    if np.isfinite(scores).all():
        sample = Sample.of(scores)
        low, high = sample.interval()
        few = "" if math.isfinite(low) else f" ({counted(runs, 'seed')} give no 95% interval)"
        yield "typically", f"{report.with_interval(sample.typical, low, high, unit)}{few}"
    yield "diverged", f"{int(place.arm.diverged.sum())} of {runs} ({percent(float(place.arm.diverged.mean()))})"
    if compared := _compared(result, place.arm.name):
        against = compared.against
        yield "at the best of each row", against.sentence if against else "the baseline that the others are held against"


def _compared(result: Result, name: str) -> ArmReport | None:
    return next((part for part in (result.best.arms if result.best else []) if part.arm.name == name), None)


# Words.


def _bests(result: Result) -> Element:
    """Each row's best column, and what the choice rests on."""
    axis = result.sweep.columns.title
    headings = ["row", *sweep_report.best_columns(result)[1:]]
    warnings = [f"Warning: {warning}" for warning in sweep_report.warnings(result)]
    told = [sweep_report.scope(result), *(f"Mind that {reset}." for reset in result.sweep.resets), *warnings]
    return section(
        "best",
        f"The best {axis} of each row",
        table(f"Best {axis}", [column(heading) for heading in headings], sweep_report.best_rows(result), texts=(0, 1)),
        *(element("p", explained(sentence)) for sentence in told),
    )


def _trained(result: Result) -> Element:
    facts = sweep_report.facts(result.sweep)
    return section("trained", "What was trained", definitions((subject, explained(text)) for subject, text in facts.items()))


def _to_copy(result: Result) -> Element:
    csv = sweep_report.table(result).to_csv(index=False)
    return section("copy", "To copy", plain("The map as CSV, unrounded", csv), plain("The command", "gradclip report DIR"))
