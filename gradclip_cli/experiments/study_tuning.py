"""A study's tuned arms in its report: what was chosen, the choice made again on halves of the seeds, and ranges of good rates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradclip_cli.config.article import ArticleConfig
from gradclip_cli.config.seeds import seed_list
from gradclip_cli.evidence.blocks import Block, Heading, Paragraph, Picture, Table
from gradclip_cli.evidence.metrics import POINTS, Metric
from gradclip_cli.evidence.tunings import MOST_SEEDS, Grid, Range, Splits, wider
from gradclip_cli.experiments.study import Result
from gradclip_cli.experiments.tuning import Choice
from gradclip_cli.texts import counted, percent, shown_p

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE = "tuning.png"
HEADINGS = ["arm", "candidates", "seeds", "chosen", "it has", "the next"]
RANGE_HEADINGS = ["arm", "at", "within a point of the best", "largest to least", "to the edge", "wider than its baseline's", "p"]
SPLIT_HEADINGS = ["arm", "splits", "difference", "least", "largest", "better on", "chosen most"]
TOLERANCE = 1.0
"""In points: a rate whose score is so near to the best is as good."""
FEWEST_NUMBERS = 4
"""Of an axis, for a range on it to mean something."""


@dataclass(frozen=True)
class Pool:
    """Arms that were tuned over one grid, each with seeds of its own: their grids together."""

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    grid: Grid
    axis: str
    metric: Metric

    @property
    def has_range(self) -> bool:
        """Whether it has numbers enough, scored in points, for a range of good ones."""
        return len(set(self.grid.numbers)) >= FEWEST_NUMBERS and self.metric.unit == POINTS


def pools(choices: Mapping[str, Choice]) -> list[Pool]:
    """Tuned arms, those of one grid together."""
    found: dict[tuple[str, ...], list[Choice]] = {}
    for choice in choices.values():
        grid = tuple(each.config.with_seed(0).model_dump_json(exclude={"name"}) for each in choice.tuned.candidates)
        found.setdefault(grid, []).append(choice)
    return [_pool(together) for together in found.values()]


def _pool(choices: Sequence[Choice]) -> Pool:
    first, metric = choices[0], choices[0].metric
    sign = 1 if metric.higher_is_better else -1
    count = len(first.tuned.candidates)
    scores = np.hstack([[sign * metric.scores(arm) * metric.unit.scale for arm in each.arms[:count]] for each in choices])
    tuned, candidates = first.tuned, first.tuned.candidates
    numbers = [tuned.number(each) if tuned.axis.numeric else float(place) for place, each in enumerate(candidates)]
    grid = Grid(
        name=tuned.arm,
        labels=[each.label for each in candidates],
        rows=[each.label_without(tuned.axis.key) for each in candidates],
        numbers=np.array(numbers),
        scores=scores,
    )
    return Pool(tuple(each.tuned.arm for each in choices), _seeds(choices), grid, tuned.axis.title, metric)


def _seeds(choices: Sequence[Choice]) -> tuple[int, ...]:
    return tuple(seed for each in choices for seed in sorted(each.tuned.seeds))


def _pairs(result: Result, found: Sequence[Pool]) -> Iterator[tuple[Pool, Pool]]:
    """Pools that a test holds against each other and that have the same seeds: the baseline's and the arm's."""
    of_arm = {name: pool for pool in found for name in pool.names}
    pairs = dict.fromkeys((each.test.baseline, each.test.arm) for each in result.tested)
    told = set[tuple[str, str]]()
    for baseline, arm in pairs:
        if baseline in of_arm and arm in of_arm:
            base, own = of_arm[baseline], of_arm[arm]
            if base.seeds == own.seeds and (base.grid.name, own.grid.name) not in told:
                told.add((base.grid.name, own.grid.name))
                yield base, own


def _tuned_again(pairs: Iterable[tuple[Pool, Pool]]) -> list[tuple[Pool, Pool]]:
    """Those that were tuned more than once, by so few seeds that all splits can be made."""
    return [(base, arm) for base, arm in pairs if len(base.names) > 1 and len(base.seeds) <= MOST_SEEDS]


def parts(result: Result) -> list[Block]:
    """The tuning's parts of the report; nothing where no arm is tuned."""
    if not result.choices:
        return []
    found = pools(result.choices)
    pairs = list(_pairs(result, found))
    metrics = ", ".join(dict.fromkeys(choice.metric.title for choice in result.choices.values()))
    return [
        Heading("What was chosen"),
        Table(HEADINGS, rows(result.choices)),
        Paragraph(
            f"Chosen by {metrics}, on average over the tuning's seeds, and not judged on it. At the edge: a better one may "
            "lie beyond."
        ),
        *_splits_parts(_tuned_again(pairs)),
        *_range_parts([pool for pool in found if pool.has_range], pairs, result),
        *[Paragraph(told) for told in [test_set_sentence(result)] if told],
    ]


def rows(choices: Mapping[str, Choice]) -> list[list[str]]:
    """How each tuned arm was chosen, as texts beneath HEADINGS."""
    return [_row(name, choice) for name, choice in choices.items()]


def _row(name: str, choice: Choice) -> list[str]:
    unit, scores = choice.metric.unit, choice.scores
    others = [score for place, score in enumerate(scores) if place != choice.place and math.isfinite(score)]
    following = (max(others) if choice.metric.higher_is_better else min(others)) if others else math.nan
    edge = " (at the edge)" if choice.tuned.at_edge(choice.best) else ""
    chosen = f"{choice.best.label}{edge}"
    return [
        name,
        str(len(scores)),
        seed_list(choice.tuned.seeds),
        chosen,
        f"{unit.shown(scores[choice.place])}{unit.of_values or ''}",
        unit.shown(following),
    ]


def _splits_parts(pairs: Sequence[tuple[Pool, Pool]]) -> list[Block]:
    if not pairs:
        return []
    return [
        Heading("The whole procedure again, on halves of the tuning's seeds"),
        Table(SPLIT_HEADINGS, [_split_row(base, arm) for base, arm in pairs]),
        Paragraph(
            f"Every way to split the {len(pairs[0][0].seeds)} tuning seeds in halves: one half chooses, for both arms, the other "
            "judges the chosen two on the holdout, in points. It shows how far the finding hangs on which seeds chose."
        ),
    ]


def _split_row(base: Pool, arm: Pool) -> list[str]:
    splits, unit = Splits.of(base.grid, arm.grid), arm.metric.unit
    most, times = next(iter(splits.chosen.items()))
    shown = [
        unit.shown(float(value), sign=True)
        for value in (splits.differences.mean(), splits.differences.min(), splits.differences.max())
    ]
    count = len(splits.differences)
    return [
        f"{arm.grid.name} against {base.grid.name}",
        str(count),
        *shown,
        percent(splits.better, 0),
        f"{most} ({times} of {count})",
    ]


def _range_parts(found: Sequence[Pool], pairs: Sequence[tuple[Pool, Pool]], result: Result) -> list[Block]:
    if not found:
        return []
    baselines = {arm.grid.name: base for base, arm in pairs}
    axis = found[0].axis
    return [
        Heading(f"The range of good values of the {axis}"),
        Table(RANGE_HEADINGS, [_range_row(pool, baselines.get(pool.grid.name)) for pool in found], left=2),
        Paragraph(
            f"Values of the {axis} whose holdout accuracy is within {TOLERANCE:g} point of the best, at the arm's best setting "
            "of everything else; of each seed, then in the middle of the seeds (between two values of the grid accuracy runs "
            "evenly along their logarithms). To the edge: on how many seeds it reaches the grid's end, may be wider. Last: how "
            "many times as wide as its baseline's it typically is, with a 95% interval and the exact signed-rank test's p."
        ),
        Picture(PICTURE, f"Holdout accuracy by {axis}, an arm a line", lambda: _figure(result)),
    ]


def _range_row(pool: Pool, base: Pool | None) -> list[str]:
    own = Range.of(pool.grid, TOLERANCE)
    least, largest = float(np.median(own.least)), float(np.median(own.largest))
    told = [pool.grid.name, pool.grid.best_row or "-", f"{least:.2g} to {largest:.2g}", f"{np.median(own.factors):.1f}"]
    told.append(f"{own.open_ended} of {len(pool.seeds)}")
    if base is None or not base.has_range:
        return [*told, "", ""]
    sample = wider(Range.of(base.grid, TOLERANCE), own)
    low, high = (2.0**end for end in sample.interval())
    interval = f"{low:.1f}, {high:.1f}" if math.isfinite(high) else "too few seeds for an interval"
    return [*told, f"{2**sample.typical:.1f} times [{interval}]", shown_p(sample.p)]


def test_set_sentence(result: Result) -> str | None:
    """How far the choice of test images alone moves an accuracy; None where their number or accuracy isn't known."""
    [first, *_] = result.tested
    config, metric = first.pair.base.config, first.yardstick.metric
    if not isinstance(config, ArticleConfig) or metric.column != "val_accuracy" or not metric.higher_is_better:
        return None
    images, accuracy = config.data.part.test, float(np.mean(first.yardstick.scores(first.pair.base)))
    error = math.sqrt(accuracy * (1 - accuracy) / images) * metric.unit.scale
    return (
        f"The test set samples too: which {counted(images, 'image')} stand in it moves an accuracy of {accuracy:.1%} by "
        f"{error:.2f} points (standard error), and a difference of two arms by {math.sqrt(2) * error:.2f} were their errors "
        "independent; they share the images, so that it is less, by how much is not recorded. More seeds don't make this smaller."
    )


def to_json(result: Result) -> dict[str, Any]:
    """The choices, splits and ranges."""
    found = pools(result.choices)
    return {
        "choices": [_choice_json(name, choice) for name, choice in result.choices.items()],
        "splits": [
            {"arm": arm.grid.name, "baseline": base.grid.name, "differences": Splits.of(base.grid, arm.grid).differences.tolist()}
            for base, arm in _tuned_again(_pairs(result, found))
        ],
        "ranges": [_range_json(pool) for pool in found if pool.has_range],
    }


def _choice_json(name: str, choice: Choice) -> dict[str, Any]:
    candidates = zip(choice.candidates, choice.scores, strict=True)
    return {
        "arm": name,
        "seeds": list(choice.tuned.seeds),
        "metric": choice.metric.name,
        "candidates": [{"name": each.config.name, "score": score} for each, score in candidates],
        "chosen": choice.best.config.name,
        "at_edge": choice.tuned.at_edge(choice.best),
    }


def _range_json(pool: Pool) -> dict[str, Any]:
    own = Range.of(pool.grid, TOLERANCE)
    ends = {"least": own.least.tolist(), "largest": own.largest.tolist()}
    return {"arm": pool.grid.name, "seeds": list(pool.seeds), "at": pool.grid.best_row, "tolerance": TOLERANCE, **ends}


def _figure(result: Result) -> Figure:
    """Accuracy by the axis that ranges are of, an arm a line at its best setting."""
    from gradclip_cli import plots

    found = [pool for pool in pools(result.choices) if pool.has_range]
    lines = [_line(pool) for pool in found]
    return plots.tuning_figure(found[0].metric.heading, found[0].axis, TOLERANCE, lines)


def _line(pool: Pool) -> Any:
    from gradclip_cli import plots

    name = ", ".join(filter(None, [pool.grid.name, pool.grid.best_row]))
    return plots.TunedLine(name, *pool.grid.best_curve)
