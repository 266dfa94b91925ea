"""What is said of a pair of arms, in plain words, claiming no more than its test: condition, both figures, and what to mind."""

from __future__ import annotations

from collections.abc import Sequence

from gradclip_cli.config.recorded import UNKNOWN
from gradclip_cli.evidence.verdicts import Judgement, TwoArms, Verdict
from gradclip_cli.evidence.wordings import wording
from gradclip_cli.texts import p_relation, percent

MOST_NAMED = 10
"""So many arms are named in a sentence."""
MOST_KEYS = 3
"""So many keys in which arms differ are named in a verdict."""


def sentence(pair: TwoArms, verdict: Verdict, judgement: Judgement) -> str:
    """The verdict on a pair, with its condition and its figures, and what else it may be due to."""
    if verdict == Verdict.NOT_TESTABLE:
        said = _not_testable(pair)
    elif verdict == Verdict.EXPLORATORY:
        said = _exploratory(pair, judgement.tests)
    else:
        words = wording(pair)
        more = (*words.two_stories(), *words.tied(), *words.few(verdict), *_margin(pair, judgement.level))
        said = " ".join([_decided(pair, verdict, judgement), *more])
    return " ".join([said, *_confounded(pair)])


def _decided(pair: TwoArms, verdict: Verdict, judgement: Judgement) -> str:
    ours, theirs, condition = _where(pair)
    facts = _facts(pair, judgement)
    if verdict in (Verdict.HELPS, Verdict.HURTS):
        return f"{ours} {changed(pair)} against {theirs}{condition} ({facts})."
    title, both = pair.yardstick.metric.title, both_figures(pair)
    return f"No difference in {title} shown between {ours} and {theirs}{condition}: {both} ({facts})."


def _where(pair: TwoArms) -> tuple[str, str, str]:
    """The names of both arms and the condition that they share: each with its own where they share none."""
    ours, theirs = pair.arm.config.optimizer.label, pair.base.config.optimizer.label
    if ours == theirs:
        return pair.arm.name, pair.base.name, f" at {ours}"
    return f"{pair.arm.name} (at {ours})", f"{pair.base.name} (at {theirs})", ""


def changed(pair: TwoArms) -> str:
    """What the arm did to the metric, typically and on average, such as `raised test accuracy by 0.8 points typically, ...`."""
    metric, differences = pair.yardstick.metric, pair.differences
    typically = f"{_direction(differences.typical)} {metric.title} by {metric.unit.amount(abs(differences.typical))} typically"
    average = metric.unit.shown(abs(differences.mean))
    if differences.opposed:
        return f"{typically}, yet {_direction(differences.mean)} it by {average} on average,"
    return f"{typically}, by {average} on average,"


def _direction(difference: float) -> str:
    return "raised" if difference > 0 else "lowered"


def both_figures(pair: TwoArms) -> str:
    """Both differences with their signs, such as `+0.8 points typically, +2.1 on average`."""
    unit, differences = pair.yardstick.metric.unit, pair.differences
    return f"{unit.amount(differences.typical, sign=True)} typically, {unit.shown(differences.mean, sign=True)} on average"


def _facts(pair: TwoArms, judgement: Judgement) -> str:
    unit, differences = pair.yardstick.metric.unit, pair.differences
    low, high = differences.interval(judgement.level)
    parts = [
        f"{interval_name(judgement)} of the typical difference {unit.shown(low)} to {unit.shown(high)}",
        *wording(pair).facts(),
        p_relation(judgement.p_adjusted),
    ]
    return "; ".join(parts)


def interval_name(judgement: Judgement) -> str:
    """What an interval is called, after the level at which its arm is judged, such as `97.5% interval`."""
    return f"{100 * (1 - judgement.level):.3g}% interval"


def _margin(pair: TwoArms, level: float) -> list[str]:
    """A sentence on the margin that was asked for."""
    margin = pair.yardstick.margin
    if margin is None:
        return []
    amount, rare = f"{margin:g} {pair.yardstick.metric.unit.name}", f"({wording(pair).rare()})"
    if pair.equivalent(level):
        return [f"Interval and average lie inside ±{amount}: equivalent within that margin {rare}."]
    if pair.not_worse(level):
        return [f"Neither interval nor average is worse by {amount}: not worse by that margin {rare}."]
    return []


def _not_testable(pair: TwoArms) -> str:
    words = wording(pair)
    if pair.other_data:
        both = f"{pair.arm.name} and {pair.base.name}"
        return (
            f"The runs of {both} were trained on {pair.other_data} datasets (their SHA-256 differs), though their configs name "
            "one: whether clipping helps can't be told. Seed what makes the data, and train them again."
        )
    if pair.at_chance():
        chance = pair.yardstick.metric.unit.amount(pair.yardstick.metric.chance(pair.arm) or 0.0)
        return (
            f"No run of {pair.arm.name} or {pair.base.name} was better than chance ({chance}) in {pair.yardstick.metric.title}, "
            f"over {words.runs}: whether clipping helps can't be told from runs that learnt nothing; train them longer, or "
            "otherwise."
        )
    if pair.acted:
        how = f"did something else than {pair.base.name} on {percent(pair.acted, 2)} of the steps only"
        return f"{pair.arm.name} {how}, over {words.runs}: whether it helps can't be tested here, since it hardly acted."
    if "none" in (pair.arm.config.clipping.mode, pair.base.config.clipping.mode):
        return (
            f"Clipping never acted in these runs, so {pair.arm.name} trained as {pair.base.name} did {words.on_runs}: whether "
            "it helps can't be tested here."
        )
    return (
        f"{pair.arm.name} clipped no step otherwise than {pair.base.name} {words.on_runs}: whether it helps can't be tested "
        "here, since it never acted."
    )


def _exploratory(pair: TwoArms, tests: int) -> str:
    ours, theirs, condition = _where(pair)
    words, metric = wording(pair), pair.yardstick.metric
    if not pair.differences.typical and not pair.differences.mean:
        seen = f"left {metric.title} as it was"
    elif words.is_single:
        seen = f"{_direction(pair.differences.mean)} {metric.title} by {metric.unit.amount(abs(pair.differences.mean))}"
    else:
        seen = f"changed {metric.title} by {both_figures(pair)}"
    return (
        f"{ours} against {theirs}{condition} is exploratory: {words.on_runs} it {seen}, but so few can't give "
        f"p below {pair.smallest_p(tests):.2g}; {words.enough(tests)} could."
    )


def _confounded(pair: TwoArms) -> list[str]:
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
