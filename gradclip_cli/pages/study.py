"""A study's page: its question, what its tests say, its map, what was planned before, and all that its report has."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from gradclip_cli import plots
from gradclip_cli.config.studies import Matrix
from gradclip_cli.evidence import figures
from gradclip_cli.evidence.arms import StoredRun
from gradclip_cli.evidence.success import Successes
from gradclip_cli.evidence.verdicts import Verdict
from gradclip_cli.experiments import study_detectors_report, study_matrix, study_report
from gradclip_cli.experiments.study import Result, Tested
from gradclip_cli.experiments.tuning import Choice
from gradclip_cli.pages import blocks, interactive, maps, sections
from gradclip_cli.pages.answer import SIGNS, badge, difference, shown
from gradclip_cli.pages.elements import definitions, details, element, section, table
from gradclip_cli.pages.maps import Cell
from gradclip_cli.pages.provenance import provenance_of
from gradclip_cli.pages.shape import DRAWN, Page
from gradclip_cli.pages.to_copy import config_text, plain
from gradclip_cli.pages.words import explained
from gradclip_cli.plots import Panel
from gradclip_cli.texts import counted

MOST_BADGES = 8
"""Of a family's tests, that stand on top."""
MOST_DETECTORS = 4
"""Whose sentences stand on top."""
MOST_PICTURES = 60
"""So many tests have their curves drawn; of more only those that show a difference."""


@dataclass(frozen=True)
class _Numbered:
    """A test with its number on the page, from 1."""

    tested: Tested
    number: int

    @property
    def id(self) -> str:
        return f"test-{self.number}"

    @property
    def name(self) -> str:
        test = self.tested.test
        return f"{test.arm} against {test.baseline}"

    @property
    def curves_id(self) -> str:
        return f"{self.id}-curves"

    def panel(self) -> Panel:
        """Both arms' curves of what is tested."""
        pair = self.tested.pair
        return figures.metric_panel([pair.base, pair.arm], self.tested.yardstick.metric)


def of(result: Result) -> Page:
    """The page of a study, of the same figures as its report."""
    study, tests = result.study, [_Numbered(each, number) for number, each in enumerate(result.tested, 1)]
    crossed = [_map(result, study.matrix, tests)] if study.matrix else []
    help_ = study_matrix.what_goes_with_help(result, study.matrix) if study.matrix else []
    drawn = {each.curves_id: each.panel() for each in tests if len(tests) <= MOST_PICTURES or _shows(each)}
    parts = [
        *crossed,
        *blocks.parts(study_report.planned_parts(result), "plan"),
        *blocks.parts([*help_, *study_report.further_parts(result)], "part"),
        _tests(result, tests, drawn),
        _to_copy(result),
        provenance_of(_runs(result)),
    ]
    held = {DRAWN: interactive.data_of_panels(drawn)} if drawn and interactive.is_installed() else {}
    return Page(f"{study.name}: {study.question}", answer(result), parts, beneath=_badges(result), held=held)


def _runs(result: Result) -> list[StoredRun]:
    return [run for arm in result.arms.values() for part in (arm, *arm.replicates) for run in part.runs]


# On top.


def answer(result: Result) -> list[str]:
    """What each family of tests came to, in their order, then what the first detectors did."""
    matrix, families = result.study.matrix, result.study.families
    told = [
        study_matrix.summary(result, matrix) if matrix and matrix.family == family else _came_to(family, result.family(family))
        for family in families
    ]
    detectors = study_detectors_report.sentences(result.detectors)
    further = ["What the other detectors did is told below."] if len(detectors) > MOST_DETECTORS else []
    return [*told, *detectors[:MOST_DETECTORS], *further]


def _came_to(family: str, tested: Sequence[Tested]) -> str:
    """Such as `Why: helps in 2 of 4 tests; no difference shown in 2 of 4 tests.`"""
    counts = {verdict: sum(each.against.verdict == verdict for each in tested) for verdict in Verdict}
    found = "; ".join(f"{verdict} in {count} of {counted(len(tested), 'test')}" for verdict, count in counts.items() if count)
    return f"{family[:1].upper()}{family[1:]}: {found}."


def _badges(result: Result) -> list[Element]:
    """The first family's tests with their verdicts and sentences, where they are few enough to be read at once."""
    tested = result.family(result.study.families[0]) if result.study.families else []
    if not 0 < len(tested) <= MOST_BADGES:
        return []
    sentences = element("ul", *(element("li", explained(each.against.sentence)) for each in tested))
    return [element("ul", *map(_badge, tested), class_="badges"), sentences]


def _badge(tested: Tested) -> Element:
    metric, against = tested.yardstick.metric, tested.against
    name = f"{tested.test.arm} against {tested.test.baseline}"
    return shown(badge(name, against.verdict, str(against.verdict), f"{metric.title}: {difference(against, metric.unit)}"))


# The map.


def _map(result: Result, matrix: Matrix, tests: Sequence[_Numbered]) -> Element:
    """Problems down, rules across; a cell leads to its test. The picture of the same stands beneath, closed."""
    drawn = study_matrix.crossed(result, matrix)
    numbered = {each.tested.test.arm: each for each in tests if each.tested.test.family == matrix.family}
    rows = []
    for problem, label, cells in zip(matrix.problems, drawn.rows, drawn.cells, strict=True):
        found = [numbered.get(matrix.arm(problem, rule)) for rule in drawn.columns]
        shown = [_cell(cell, test) if cell and test else None for cell, test in zip(cells, found, strict=True)]
        name, *others = label
        rows.append((element("span", name, *(element("span", line, class_="figure") for line in others)), shown))
    caption = f"Typical difference from {matrix.baseline} with its interval, on seeds that no choice was made on"
    note = (
        "The more purple a cell, the more seeds are better with the rule; the more orange, the more are worse. Framed where a "
        "test shows it, over all cells together. A cell leads to what it rests on."
    )
    picture = study_matrix.picture(result, matrix)
    return section(
        "map",
        study_matrix.MAP,
        maps.grid(caption, "problem", drawn.columns, rows),
        element("p", explained(note), class_="note"),
        element("p", explained(study_matrix.summary(result, matrix))),
        details("The same as a picture", *blocks.shown([picture], study_matrix.MAP)),
    )


def _cell(cell: plots.MatrixCell, test: _Numbered) -> Cell:
    verdict = test.tested.against.verdict
    shade = None if cell.balance is None else plots.matrix_shade(cell.balance)
    return Cell(cell.lines, shade, test.id, f"{SIGNS[verdict]} {verdict}" if cell.shown else "")


# What tests rest on.


def _tests(result: Result, tests: Sequence[_Numbered], panels: Mapping[str, Panel]) -> Element:
    few = f" Of more than {MOST_PICTURES} tests only those that show a difference have curves here."
    told = f"Each test's sentence, its seeds, its curves and its configs.{few if len(panels) < len(tests) else ''}"
    said = f"{told} {interactive.thinned(panels.values())}".rstrip()
    opened = [maps.opens(each.id, _summary(each), *_inside(result, each, panels.get(each.curves_id))) for each in tests]
    return section("tests", "What each test rests on", element("p", explained(said), class_="note"), *opened)


def _shows(test: _Numbered) -> bool:
    return test.tested.against.verdict in (Verdict.HELPS, Verdict.HURTS)


def _summary(test: _Numbered) -> str:
    metric, against = test.tested.yardstick.metric, test.tested.against
    return f"{test.name}, {metric.title}: {against.verdict} ({difference(against, metric.unit)})"


def _inside(result: Result, test: _Numbered, panel: Panel | None) -> Iterator[Element]:
    tested = test.tested
    pair = tested.pair
    yield element("p", explained(study_report.sentence(tested)))
    if facts := list(_facts(result, tested)):
        yield definitions((subject, explained(text)) for subject, text in facts)
    chosen = [_candidates(name, result.choices[name]) for name in (pair.base.name, pair.arm.name) if name in result.choices]
    yield element("div", _seeds(test), element("div", *chosen, *([_curves(test, panel)] if panel else [])), class_="beside")
    for arm in (pair.base, pair.arm):
        yield plain(f"The config of {arm.name}", config_text(arm.config))


def _curves(test: _Numbered, panel: Panel) -> Element:
    alt = f"{panel.title} of {test.name} by epoch, thin lines single runs, thick ones what is typical."
    return sections.drawn(test.curves_id, panel, alt)


def _facts(result: Result, tested: Tested) -> Iterator[tuple[str, str]]:
    """How many runs of either arm were a success, where the study says what one is."""
    for name in (tested.test.baseline, tested.test.arm):
        if bar := result.study.bars.get(name):
            won = Successes.of(bar, result.arms[name])
            yield f"successes of {name}", f"{won.count} of {won.total} ({bar})"


def _seeds(test: _Numbered) -> Element:
    """Both arms' scores on each seed, and the difference."""
    pair, against, unit = test.tested.pair, test.tested.against, test.tested.yardstick.metric.unit
    scores = [test.tested.yardstick.scores(arm) * unit.scale for arm in (pair.base, pair.arm)]
    rows = [
        [str(seed), unit.shown(float(base)), unit.shown(float(own)), unit.shown(float(gap), sign=True)]
        for seed, base, own, gap in zip(pair.base.seeds, *scores, against.differences or scores[1] - scores[0], strict=True)
    ]
    caption = f"{test.tested.yardstick.metric.heading}: each seed's scores"
    return table(caption, ["seed", pair.base.name, pair.arm.name, "difference"], rows)


def _candidates(name: str, choice: Choice) -> Element:
    unit = choice.metric.unit
    rows = [
        [f"{candidate.label}{' (chosen)' if candidate is choice.best else ''}", unit.shown(score)]
        for candidate, score in zip(choice.candidates, choice.scores, strict=True)
    ]
    return table(f"What {name} was chosen from", ["candidate", choice.metric.heading], rows)


def _to_copy(result: Result) -> Element:
    file = result.study.own_path.name if result.study.own_path else result.study.name
    commands = [f"gradclip study {shlex.quote(file)} --results DIR", "gradclip report DIR"]
    return section("copy", "To copy", plain("The commands", "\n".join(commands)))
