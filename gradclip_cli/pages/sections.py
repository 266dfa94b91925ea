"""The sections of a comparison's page: what was trained, the verdicts and what they rest on, the runs, the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from gradclip_cli.config.seeds import seed_list
from gradclip_cli.evidence import figures, remarks, report, trained
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.pages.elements import definitions, details, element, section, table
from gradclip_cli.pages.pictures import Picture, panel_pictures
from gradclip_cli.pages.words import column, explained
from gradclip_cli.plots import Panel
from gradclip_cli.plots.style import known


def what_was_trained(compared: Comparison) -> Element:
    """Model, data, length, optimizer and clipping of all arms; where they differ, each value once."""
    arms = [part.arm for part in compared.arms]
    configs = [arm.config for arm in arms]
    facts = {subject: text for subject, text in trained.facts(configs).items() if text and subject != "clipping"}
    if "model" not in facts:  # of a loop of somebody's own
        facts |= {"model": _each([config.model.label for config in configs])}
        facts |= {"optimizer": _each([config.optimizer.label for config in configs])}
    facts["seeds"] = _each([seed_list(arm.seeds) for arm in arms])
    facts["framework"] = _each([config.engine.framework for config in configs])
    facts["evaluated on"] = f"the {arms[0].evaluation_split} split"
    return section(
        "trained",
        "What was trained",
        definitions((subject, explained(text)) for subject, text in facts.items()),
        element("h3", "Clipping of each arm"),
        definitions((arm.name, arm.config.clipping.label) for arm in arms),
    )


def _each(texts: Sequence[str]) -> str:
    return " or ".join(dict.fromkeys(texts))


def verdicts(compared: Comparison) -> Element:
    """The table of verdicts and the sentence on each."""
    columns = report.verdict_columns(compared)
    told = table(
        "What these runs can show of each arm",
        [column(heading) for heading in columns],
        report.verdict_rows(compared),
        texts=(0, len(columns) - 1),
    )
    sentences = [element("li", explained(sentence)) for sentence in compared.sentences]
    return section(
        "verdicts",
        "The verdicts",
        told,
        element("p", explained(report.verdict_caption(compared)), class_="note"),
        *([element("ul", *sentences)] if sentences else []),
    )


def runs(compared: Comparison) -> Element:
    """The table of what the runs did."""
    columns = report.run_columns(compared)
    return section(
        "runs",
        "What the runs did",
        table(
            "Last epoch and gradients of each arm's runs",
            [column(heading) for heading in columns],
            report.run_rows(compared),
            texts=(0, len(columns) - 1),
        ),
        element("p", explained(report.run_caption(compared)), class_="note"),
    )


def differences(compared: Comparison, picture: Picture) -> Element:
    """The picture of the differences, and each score as a number."""
    kind = "Differences" if compared.unpaired else "Paired differences"
    alt = f"{figures.difference_axis(compared.metric, compared.baseline.arm.name)}: {' '.join(compared.sentences)}"
    shown = element("figure", image(picture, alt), _said("A dot is a seed; all numbers stand in the table beneath."), id="pairs")
    return section("differences", f"{kind}, seed by seed", shown, details("The scores as numbers", scores(compared)))


def scores(compared: Comparison) -> Element:
    """Each arm's score on each seed, a row a seed."""
    by_arm = {part.arm.name: dict(zip(part.arm.seeds, part.scores, strict=True)) for part in compared.arms}
    seeds = sorted({seed for scored in by_arm.values() for seed in scored})
    shown = compared.metric.unit.shown
    rows = [[str(seed), *(shown(scored[seed]) if seed in scored else "" for scored in by_arm.values())] for seed in seeds]
    return table(f"{compared.metric.heading} of each run, as scored", ["seed", *by_arm], rows)


MANY_RUNS = "Thick lines are typical values over seeds with 95% intervals, thin ones single runs."


def curves(panels: Sequence[Panel], pictures: Sequence[Picture], note: str = MANY_RUNS) -> Element:
    """The panels by epoch, each as a picture, under what is said of all of them."""
    shown = [
        element("figure", image(picture, _told(panel)), id=f"panel-{number}")
        for number, (panel, picture) in enumerate(zip(panels, pictures, strict=True))
    ]
    return section("curves", "By epoch", element("p", explained(note), class_="note"), element("div", *shown, class_="panels"))


def drawn(place: str, panel: Panel, alt: str) -> Element:
    """A panel by itself, as a picture at a place where live curves may take over."""
    [picture] = panel_pictures([panel])
    return element("figure", image(picture, alt), id=place)


def _told(panel: Panel) -> str:
    """A panel in words: where each curve ends."""
    ends = {name: known(middle) for name, middle in panel.middles().items()}
    told = [f"{name} {values[-1]:.3g}" if len(values) else f"{name} nothing to draw" for name, values in ends.items()]
    return f"{panel.title} ({panel.unit}) by epoch; at the end {', '.join(told)}."


def image(picture: Picture, alt: str) -> Element:
    """A picture with what it shows in words."""
    return element("img", src=picture.source, alt=alt, width=str(picture.width), height=str(picture.height))


def _said(text: str) -> Element:
    return element("figcaption", explained(text))


def to_mind(compared: Comparison) -> Element:
    """What else is said of the comparison: collapses, planning, notes, warnings, and what a verdict speaks of."""
    told = [remarks.collapse_sentence(compared), remarks.planning_sentence(compared), *compared.notes, *compared.differences]
    warnings = [element("li", element("strong", "Warning: "), explained(warning)) for warning in compared.warnings]
    scope = [remarks.scope_sentence(compared)] if compared.others else []
    items = [element("li", explained(sentence)) for sentence in (*told, *scope) if sentence]
    return section("mind", "What to keep in mind", element("ul", *warnings, *items))
