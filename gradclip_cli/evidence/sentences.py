"""What is said of a pair of arms, in plain words, claiming no more than its test: condition, both figures, and what to mind."""

from __future__ import annotations

from collections.abc import Sequence

from gradclip_cli.config.recorded import UNKNOWN
from gradclip_cli.evidence.samples import seeds_for_a_verdict, smallest_p
from gradclip_cli.evidence.stats import share_interval
from gradclip_cli.evidence.verdicts import Judgement, Pair, Verdict
from gradclip_cli.texts import counted, p_relation, percent

MOST_NAMED = 10
"""So many arms are named in a sentence."""
SEEDS_FOR_A_BOUND = 8
"""From so many seeds on the false verdicts under skewed differences are bounded: see docs/statistics.md."""
MOST_KEYS = 3
"""So many keys in which arms differ are named in a verdict."""


def sentence(pair: Pair, verdict: Verdict, judgement: Judgement) -> str:
    """The verdict on a pair, with its condition and its figures, and what else it may be due to."""
    if verdict == Verdict.NOT_TESTABLE:
        said = _not_testable(pair)
    elif verdict == Verdict.EXPLORATORY:
        said = _exploratory(pair, judgement.tests)
    else:
        more = (*_two_stories(pair), *_tied(pair), *_few_seeds(pair, verdict), *_margin(pair, judgement.level))
        said = " ".join([_decided(pair, verdict, judgement), *more])
    return " ".join([said, *_confounded(pair)])


def _decided(pair: Pair, verdict: Verdict, judgement: Judgement) -> str:
    ours, theirs, condition = _where(pair)
    facts = _facts(pair, judgement)
    if verdict in (Verdict.HELPS, Verdict.HURTS):
        return f"{ours} {changed(pair)} against {theirs}{condition} ({facts})."
    title, both = pair.yardstick.metric.title, both_figures(pair)
    return f"No difference in {title} shown between {ours} and {theirs}{condition}: {both} ({facts})."


def _where(pair: Pair) -> tuple[str, str, str]:
    """The names of both arms and the condition that they share: each with its own where they share none."""
    ours, theirs = pair.arm.config.optimizer.label, pair.base.config.optimizer.label
    if ours == theirs:
        return pair.arm.name, pair.base.name, f" at {ours}"
    return f"{pair.arm.name} (at {ours})", f"{pair.base.name} (at {theirs})", ""


def changed(pair: Pair) -> str:
    """What the arm did to the metric, typically and on average, such as `raised test accuracy by 0.8 points typically, ...`."""
    metric, differences = pair.yardstick.metric, pair.differences
    typically = f"{_direction(differences.typical)} {metric.title} by {metric.unit.amount(abs(differences.typical))} typically"
    average = metric.unit.shown(abs(differences.mean))
    if differences.opposed:
        return f"{typically}, yet {_direction(differences.mean)} it by {average} on average,"
    return f"{typically}, by {average} on average,"


def _direction(difference: float) -> str:
    return "raised" if difference > 0 else "lowered"


def both_figures(pair: Pair) -> str:
    """Both differences with their signs, such as `+0.8 points typically, +2.1 on average`."""
    unit, differences = pair.yardstick.metric.unit, pair.differences
    return f"{unit.amount(differences.typical, sign=True)} typically, {unit.shown(differences.mean, sign=True)} on average"


def _facts(pair: Pair, judgement: Judgement) -> str:
    unit, differences = pair.yardstick.metric.unit, pair.differences
    low, high = differences.interval(judgement.level)
    parts = [
        f"{interval_name(judgement)} of the typical difference {unit.shown(low)} to {unit.shown(high)}",
        f"median {unit.shown(differences.median, sign=True)}",
        f"better on {pair.won} of {counted(differences.seeds, 'seed')}",
        p_relation(judgement.p_adjusted),
    ]
    return "; ".join(parts)


def interval_name(judgement: Judgement) -> str:
    """What an interval is called, after the level at which its arm is judged, such as `97.5% interval`."""
    return f"{100 * (1 - judgement.level):.3g}% interval"


def _two_stories(pair: Pair) -> list[str]:
    """A sentence where most seeds and the average say different things."""
    differences = pair.differences
    give = "gives" if differences.carriers == 1 else "give"
    few = f"{counted(differences.carriers, 'seed')} of {differences.seeds} {give} half or more"
    if differences.opposed:
        most, average = ("Better", "worse") if pair.better else ("Worse", "better")
        return [f"{most} on most seeds, {average} on average: {few} of that average."]
    return [f"The average is not typical: {few} of it."] if differences.carried_by_few else []


def _tied(pair: Pair) -> list[str]:
    """A sentence where ties leave the test little to decide by, with the exact test of what is not tied."""
    differences = pair.differences
    if not differences.much_tied:
        return []
    differ = differences.seeds - differences.zero
    return [
        f"{differences.zero} of {differences.seeds} seeds are tied, so that what is typical can hardly decide; where they differ "
        f"it is better on {pair.won} of {differ} (exact sign test, {p_relation(differences.sign_p)})."
    ]


def _few_seeds(pair: Pair, verdict: Verdict) -> list[str]:
    """A sentence on a verdict from fewer seeds than its error rate is bounded for."""
    if pair.differences.seeds >= SEEDS_FOR_A_BOUND or verdict not in (Verdict.HELPS, Verdict.HURTS):
        return []
    return [
        f"With fewer than {SEEDS_FOR_A_BOUND} seeds up to 9% of such verdicts are false where differences are skewed: train more."
    ]


def _margin(pair: Pair, level: float) -> list[str]:
    """A sentence on the margin that was asked for."""
    margin = pair.yardstick.margin
    if margin is None:
        return []
    amount, seeds = f"{margin:g} {pair.yardstick.metric.unit.name}", pair.differences.seeds
    most = percent(share_interval(pair.beyond_margin, seeds)[1], 0)
    rare = f"({pair.beyond_margin} of {seeds} seeds are worse by more; up to {most} of all may be)"
    if pair.equivalent(level):
        return [f"Interval and average lie inside ±{amount}: equivalent within that margin {rare}."]
    if pair.not_worse(level):
        return [f"Neither interval nor average is worse by {amount}: not worse by that margin {rare}."]
    return []


def _not_testable(pair: Pair) -> str:
    seeds = counted(pair.differences.seeds, "shared seed")
    if pair.at_chance():
        chance = pair.yardstick.metric.unit.amount(pair.yardstick.metric.chance(pair.arm) or 0.0)
        return (
            f"No run of {pair.arm.name} or {pair.base.name} was better than chance ({chance}) in {pair.yardstick.metric.title}, "
            f"over {seeds}: whether clipping helps can't be told from runs that learnt nothing; train them longer, or otherwise."
        )
    if pair.acted:
        how = f"did something else than {pair.base.name} on {percent(pair.acted, 2)} of the steps only"
        return f"{pair.arm.name} {how}, over {seeds}: whether it helps can't be tested here, since it hardly acted."
    if "none" in (pair.arm.config.clipping.mode, pair.base.config.clipping.mode):
        return (
            f"Clipping never acted in these runs, so {pair.arm.name} trained as {pair.base.name} did on {seeds}: whether it "
            "helps can't be tested here."
        )
    return (
        f"{pair.arm.name} clipped no step otherwise than {pair.base.name} on {seeds}: whether it helps can't be tested here, "
        "since it never acted."
    )


def _exploratory(pair: Pair, tests: int) -> str:
    ours, theirs, condition = _where(pair)
    seeds, metric = pair.differences.seeds, pair.yardstick.metric
    if not pair.differences.typical and not pair.differences.mean:
        seen = f"left {metric.title} as it was"
    elif seeds == 1:
        seen = f"{_direction(pair.differences.mean)} {metric.title} by {metric.unit.amount(abs(pair.differences.mean))}"
    else:
        seen = f"changed {metric.title} by {both_figures(pair)}"
    return (
        f"{ours} against {theirs}{condition} is exploratory: on {counted(seeds, 'shared seed')} it {seen}, but so few can't give "
        f"p below {smallest_p(seeds, tests):.2g}; {seeds_for_a_verdict(tests)} seeds could."
    )


def _confounded(pair: Pair) -> list[str]:
    """A sentence where a verdict need not be clipping's."""
    if not pair.differs_in:
        return []
    keys = some_of(pair.differs_in, MOST_KEYS)
    if UNKNOWN in {pair.base.config.clipping.mode, pair.arm.config.clipping.mode}:
        return [f"They differ in {keys}; what of it is clipping, only their scripts know."]
    return [
        f"They differ in more than clipping: {keys}." if pair.differ_in_clipping else f"They differ in {keys}, not in clipping."
    ]


def some_of(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """Names in a row, not too many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
