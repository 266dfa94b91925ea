"""A study's report: its question, what each family of tests found, tables, pictures, and the plan with what was seen before."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.config.seeds import seed_list
from gradclip_cli.evidence import ledger, plans, report, summaries
from gradclip_cli.evidence.arms import Arm, mixtures
from gradclip_cli.evidence.blocks import Block, Heading, Paragraph, Picture, Points, Table, markdown
from gradclip_cli.evidence.bootstrap import Estimate
from gradclip_cli.evidence.components import Components
from gradclip_cli.evidence.figures import difference_axis, difference_row
from gradclip_cli.evidence.metrics import Metric, of_each_seed, usual_metric
from gradclip_cli.evidence.remarks import treatment_sentence
from gradclip_cli.evidence.samples import Sample
from gradclip_cli.evidence.stats import share_interval
from gradclip_cli.evidence.summaries import Part
from gradclip_cli.evidence.treatment import share_of
from gradclip_cli.evidence.verdicts import Verdict
from gradclip_cli.experiments import study_detectors_report, study_matrix, study_success, study_tuning
from gradclip_cli.experiments.study import Result, Tested
from gradclip_cli.files import unwritable, write_atomically
from gradclip_cli.texts import counted, for_markdown, percent, shown_p

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gradclip_cli.plots import RepeatPanel

REPEATS = "repeats.png"
HEADINGS = ["arm", "by", "seeds", "baseline's", "its own", "difference", "on average", "p", "won", "verdict"]


def write(result: Result, results: Path) -> list[Path]:
    """Write `report.md`, `study.json` and the pictures, and return their paths. Raises StoreError."""
    from gradclip_cli import plots

    record_looks(result, results)
    figures = {part.file: part.draw() for part in parts(result) if isinstance(part, Picture)}
    kept = study_detectors_report.write(result.detectors, results)
    texts = {plans.STUDY: to_json(result), "report.md": to_markdown(result)}
    try:
        for name, figure in figures.items():
            plots.save(figure, [results / name])
        for name, text in texts.items():
            write_atomically(results / name, text)
    except OSError as error:
        raise unwritable(results, error) from None
    return [*kept, *(results / name for name in (*figures, *texts))]


def record_looks(result: Result, results: Path) -> list[str]:
    """Put it on record that somebody sees the study's tests; a sentence where that could not be."""
    not_recorded = ledger.record(results, {arm.name: arm.seeds for arm in result.arms.values()}, result.looks)
    return [not_recorded] if not_recorded else []


def _groups(result: Result) -> list[list[Tested]]:
    """The tests that one picture shows: those of a family by one metric against one baseline."""
    found: dict[tuple[str, str, str], list[Tested]] = {}
    for each in result.tested:
        found.setdefault((each.test.family, each.test.metric, each.test.baseline), []).append(each)
    return list(found.values())


def _is_crossed(result: Result, group: Sequence[Tested]) -> bool:
    """Whether the matrix is the picture of these tests, so that they have none of their own."""
    return result.study.matrix is not None and group[0].test.family == result.study.matrix.family


def _picture(tested: Sequence[Tested]) -> Picture:
    """What tests found, seed by seed."""
    test = tested[0].test
    file = re.sub(r"[^\w.-]+", "-", f"{test.family}-{test.metric}-{test.baseline}.png")
    told = f"Each seed's difference in {tested[0].yardstick.metric.title}"
    return Picture(file, told, lambda: _differences(tested))


def _differences(tested: Sequence[Tested]) -> Figure:
    from gradclip_cli import plots

    metric, most = tested[0].yardstick.metric, tested[0].yardstick.metric.unit.most
    rows = [difference_row(each.test.arm, each.against) for each in tested]
    return plots.differences_figure(difference_axis(metric, tested[0].test.baseline), rows, (-most, most))


# Runs of one seed.


def _panels(result: Result) -> list[RepeatPanel]:
    """Every repeated arm's runs by the usual metric, as shown."""
    from gradclip_cli.plots import RepeatPanel

    repeated = {arm.name: last_scores(arm) for arm in _repeated(result)}
    return [RepeatPanel(name, values, f"{_typical_spread(values)} within a seed") for name, values in repeated.items()]


def last_scores(arm: Arm) -> FloatArray:
    """The usual metric at the last epoch of each seed's runs, (seeds, 1 + replicates), in the unit that it is shown in."""
    metric = _usual(arm)
    # By columns: sums then have the last digits of the reports that are stored.
    return np.array(of_each_seed(arm, metric.scores), order="F") * metric.unit.scale


def _usual(arm: Arm) -> Metric:
    """What the arm's runs are told by where no test says it."""
    return usual_metric(arm.metrics, evaluated=arm.evaluated).suited(arm)


def _typical_spread(values: FloatArray) -> str:
    """The typical standard deviation of the runs of one seed."""
    return f"±{Sample.of(values.std(axis=1, ddof=1)).typical:.2g}"


def _repeats(result: Result) -> Figure:
    from gradclip_cli import plots

    first = _repeated(result)[0]
    heading = _usual(first).heading.format(split=first.evaluation_split)
    return plots.repeats_figure(heading, "Runs of one seed that rounding alone tells apart: a column a seed", _panels(result))


# In words.


def sentences(result: Result) -> list[str]:
    """What each test says, in their order, then what each detector did."""
    return [*map(sentence, result.tested), *study_detectors_report.sentences(result.detectors)]


def summary(result: Result) -> list[Part]:
    """How many of its tests found what, and how its runs ended, in one line."""
    return [*summaries.counts(each.against.verdict for each in result.tested), Part(summaries.runs(result.arms.values()))]


def sentence(tested: Tested) -> str:
    """What a test says, and on what share of the steps the arms' clipping differed, where it is all that does."""
    against, pair = tested.against, tested.pair
    acted = None if against.differs_in else treatment_sentence(pair.base, pair.arm, against.acted)
    return " ".join(filter(None, [against.sentence, _could_have_shown(tested), acted]))


def _could_have_shown(tested: Tested) -> str | None:
    """What the seeds of a test that shows no difference could have shown; None where it shows one, or that isn't known."""
    against, unit = tested.against, tested.yardstick.metric.unit
    least = against.detectable_effect
    if against.verdict != Verdict.NO_DIFFERENCE or not math.isfinite(least) or not least:  # none where all seeds are alike
        return None
    seeds = counted(len(against.seeds), "seed")
    return f"With this spread, {seeds} detect a typical difference of {unit.amount(least)} with 80% power."


def layer_sentences(result: Result) -> list[str]:
    """Of each arm with thresholds of its own for layers: on what share of the steps these layers' gradients exceeded them."""
    found = []
    for arm in result.arms.values():
        layers = tuple(arm.config.clipping.layer_thresholds)
        names = [name for name in arm.runs[0].metadata.get("clipped_steps") or () if name.split("/")[0] in layers]
        shares = [f"{percent(share_of(name, arm.runs))} ({name})" for name in names]
        if shares:
            found.append(f"In {arm.name} gradients exceeded their own layer's threshold on {', '.join(shares)} of the steps.")
    return found


def rows(tested: Sequence[Tested]) -> list[list[str]]:
    """Tests as texts, beneath HEADINGS."""
    return [_row(each) for each in tested]


def _row(tested: Tested) -> list[str]:
    against, metric, unit = tested.against, tested.yardstick.metric, tested.yardstick.metric.unit
    base, own = (Sample.of(tested.yardstick.scores(arm) * unit.scale) for arm in (tested.pair.base, tested.pair.arm))
    return [
        f"{tested.test.arm} against {tested.test.baseline}",
        f"{metric.title} ({unit.of_values or unit.name})" if unit.name else metric.title,
        str(len(against.seeds)),
        unit.shown(base.typical),
        unit.shown(own.typical),
        report.with_interval(against.typical, against.low, against.high, unit, sign=True),
        unit.shown(against.mean, sign=True),
        shown_p(against.p_adjusted),
        against.won_told,
        str(against.verdict),
    ]


def runs_rows(result: Result) -> list[list[str]]:
    """What the runs of each arm did: seeds, runs of each, how many diverged, and how many collapsed."""
    found = []
    for arm in result.arms.values():
        counts = _Counts.of(arm)
        told = [arm.name, seed_list(arm.seeds), str(counts.of_a_seed), str(counts.runs), _share(counts.diverged, counts.runs)]
        found.append([*told, _share(counts.collapsed, counts.runs) if arm.can_collapse else "-"])
    return found


class _Counts(NamedTuple):
    """An arm's runs, with its replicates': of each seed and all, and how many of all diverged and collapsed."""

    of_a_seed: int
    runs: int
    diverged: int
    collapsed: int

    @classmethod
    def of(cls, arm: Arm) -> _Counts:
        parts = (arm, *arm.replicates)
        diverged, collapsed = sum(int(each.diverged.sum()) for each in parts), sum(int(each.collapsed.sum()) for each in parts)
        return cls(len(parts), sum(len(each.runs) for each in parts), diverged, collapsed)


def spread_rows(result: Result) -> list[list[str]]:
    """How far each repeated arm's runs spread within a seed and between seeds, as texts."""
    found = []
    for arm in _repeated(result):
        parts, unit = Components.of(last_scores(arm)), _usual(arm).unit
        spreads = [_estimated(each, unit.shown) for each in (parts.within, parts.between)]
        found.append([arm.name, *spreads, _estimated(parts.share_within, percent)])
    return found


def _estimated(found: Estimate, shown: Callable[[float], str]) -> str:
    return f"{shown(found.value)} [{shown(found.low)}, {shown(found.high)}]"


def _repeated(result: Result) -> list[Arm]:
    """The arms with replicates."""
    return [arm for arm in result.arms.values() if arm.replicates]


def _share(count: int, total: int) -> str:
    return f"{count} ({percent(count / total)})" if count else "0"


def to_json(result: Result) -> str:
    """The study's plan and what its tests found, with a schema number; what is not finite is null."""
    study = result.study
    content: dict[str, Any] = {
        "schema": plans.STUDY_SCHEMA,
        "name": study.name,
        "question": study.question,
        "file_sha256": study.sha256,
        **({"file": result.file} if result.file else {}),
        "tests": [_test_json(each) for each in result.tested],
        "arms": [_arm_json(arm) for arm in result.arms.values()],
        **({"detectors": study_detectors_report.to_json(result.detectors)} if result.detectors else {}),
        "plan": result.adherence.to_dict(),
        "warnings": list(result.warnings),
    }
    if result.choices:
        content["tuning"] = study_tuning.to_json(result)
    if study.matrix:
        content["matrix"] = [study_matrix.describe(result, study.matrix, problem) for problem in study.matrix.problems]
    if study.bars:
        content["successes"] = [each.to_dict() for each in study_success.successes(result)]
    return json.dumps(report.finite(content), indent=2, allow_nan=False) + "\n"


def _test_json(tested: Tested) -> dict[str, Any]:
    test = tested.test
    return {
        "family": test.family,
        "arm": test.arm,
        "baseline": test.baseline,
        "metric": tested.yardstick.metric.to_dict(),
        **tested.against.to_dict(),
    }


def _arm_json(arm: Arm) -> dict[str, Any]:
    counts, last = _Counts.of(arm), last_scores(arm)
    low, high = share_interval(counts.collapsed, counts.runs)
    return {
        "name": arm.name,
        "seeds": arm.seeds,
        "runs_of_a_seed": counts.of_a_seed,
        "runs": counts.runs,
        "diverged": counts.diverged,
        "collapsed": counts.collapsed if arm.can_collapse else None,
        "collapsed_low": low if arm.can_collapse else None,
        "collapsed_high": high if arm.can_collapse else None,
        "last": last.tolist(),
        "spread": asdict(Components.of(last)) if arm.replicates else None,
    }


def to_markdown(result: Result) -> str:
    """The report as a page. Every figure in it comes from the stored runs."""
    return "\n\n".join([f"# {for_markdown(result.study.question)}", *markdown(parts(result))]) + "\n"


def parts(result: Result) -> list[Block]:
    """All that the report says beneath its question."""
    study = result.study
    return [
        Paragraph(what_was_trained(result)),
        *(study_matrix.parts(result, study.matrix) if study.matrix else []),
        *further_parts(result),
        *planned_parts(result),
    ]


def further_parts(result: Result) -> list[Block]:
    """All of the report but its beginning, its matrix and the plan: families, tunings, successes, repeats, detectors, runs."""
    study = result.study
    return [
        *[part for family in study.families for part in _family(result, family)],
        *study_tuning.parts(result),
        *study_success.parts(result),
        *_runs_of_one_seed(result),
        *study_detectors_report.parts(result.detectors, study.rules),
        Heading("What the runs did"),
        Table(["arm", "seeds", "runs of each", "runs", "diverged", "collapsed"], runs_rows(result), left=2),
        *map(Paragraph, layer_sentences(result)),
        *[Paragraph(f"Warning: {warning}") for warning in (*result.warnings, *_mixtures(result))],
    ]


def planned_parts(result: Result) -> list[Block]:
    """What was planned before the first run, what had been seen by then, and what such a plan can show."""
    study = result.study
    return [
        *result.adherence.parts(),
        Paragraph(study.seen, lead="Seen before it was written:"),
        Paragraph(study.power, lead="What it can show:"),
        Paragraph(f"The study's file has the SHA-256 {study.sha256}."),
    ]


def _mixtures(result: Result) -> list[str]:
    """What is mixed among arms that are held against each other; problems of a matrix are others by intention."""
    if not (matrix := result.study.matrix):
        return mixtures(list(result.arms.values()))
    problems = [[arm for name, arm in result.arms.items() if name.startswith(f"{problem}.")] for problem in matrix.problems]
    return [f"{arms[0].name}: {told}" for arms in problems for told in mixtures(arms)]


def _runs_of_one_seed(result: Result) -> list[Block]:
    """How far runs spread within a seed and between seeds; nothing where no arm is repeated."""
    if not (repeated := _repeated(result)):
        return []
    metric = _usual(repeated[0])
    unit = f" in {metric.unit.name}" if metric.unit.name else ""
    told = f"{metric.title.format(split=repeated[0].evaluation_split)}, standard deviations{unit}"
    return [
        Heading("Runs of one seed"),
        Table(["arm", "within a seed", "between seeds", "share of the variance within"], spread_rows(result)),
        Paragraph(
            f"Components of variance of {told}, with 95% intervals (a bootstrap over seeds; too narrow where few seeds rule a "
            "spread). Runs of one seed differ by the rounding of their initial weights alone."
        ),
        Picture(REPEATS, "Each seed's runs, a panel an arm", lambda: _repeats(result)),
    ]


def what_was_trained(result: Result) -> str:
    """What was trained, with what."""
    arms = result.arms.values()
    facts = next(iter(arms)).runs[0].metadata
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    runs = sum(_Counts.of(arm).runs for arm in arms)
    return (
        f"{counted(len(result.arms), 'arm')}, {counted(runs, 'run')}, paired by seed. {versions}; {facts['machine']['system']}, "
        f"{facts['machine']['processor']}."
    )


def _family(result: Result, family: str) -> list[Block]:
    tested = result.family(family)
    pictures = [group for group in _groups(result) if group[0].test.family == family and not _is_crossed(result, group)]
    adjusted = f", adjusted by Holm over {len(tested)} tests" if len(tested) > 1 else ""
    return [
        Heading(family[0].upper() + family[1:]),
        Paragraph(result.study.rules[family], lead="The rule."),
        Table(HEADINGS, rows(tested), left=2),
        Paragraph(
            "Typical values and differences (the middle of the averages of all pairs of seeds) with intervals at the levels of "
            f"Holm's steps{adjusted}."
        ),
        Points([sentence(each) for each in tested]),
        *map(_picture, pictures),
    ]
