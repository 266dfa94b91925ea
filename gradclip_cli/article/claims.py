"""The article's claims, the rules that decide them, and what the stored runs say to each.

C1 is checked on every applied gradient. C2 to C5 are the primary tests, one Holm family at 5%; their rules were written before
any data. C6 to C8 are decided by rules of their own, outside that family: see results/LOG.md for what had been seen before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from gradclip_cli.arrays import BoolArray
from gradclip_cli.config.schema import Config
from gradclip_cli.evidence import stats
from gradclip_cli.evidence.arms import Arm, StoredRun
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.gradients.health import EXPLOSION, SPIKE
from gradclip_cli.problems import problem_of
from gradclip_cli.texts import counted, percent, shown_p

PART_IN_A_MILLION = 1e-6
FLOAT32_ROUNDING = 2.0**-24
NOTHING_LEARNT = 0.2
"""Test accuracy below which a run learnt nothing: twice chance."""
LEARNT = 0.6
"""Test accuracy from which a run of the explosive setting learnt."""
MAJORITY = 0.5
TOLERATED_RISE = 0.05
"""Nats of training loss, the effect that `compare` plans for."""

CLAIMS = {
    "C1": "Clipping bounds the gradient.",
    "C2": "Clipping by value improves training.",
    "C3": "Clipping makes training converge faster.",
    "C4": "Exploding gradients end in NaN or in a model that learns nothing.",
    "C5": "With clipping, such a model learns.",
    "C6": "Other remedies work too: a small rate, regularization, scaled inputs, another loss.",
    "C7": "The output layer may take a wider threshold than the hidden layers.",
    "C8": "Exploding gradients can be spotted while training.",
}
PRIMARY = ("C2", "C3", "C4", "C5")
RULES = {
    "C1": "Supported where no applied gradient of any step of any clipped run exceeds its threshold, measured as the rule "
    "measures it (by element, by variable, or jointly), by more than float32 rounding of a norm can explain: a share of "
    "2^-24 an element of the variable (Higham 2002, section 3.1). One part in a million, chosen first, is narrower.",
    "C2": "Primary test: the last epoch's training loss, clipvalue against none, paired by seed. Accuracy is description.",
    "C3": "Primary test: the area under the training-loss curve, clipvalue against none, paired by seed. Steps to a target "
    "loss and clipnorm stand beside it as description.",
    "C4": "Primary test: in most unclipped runs of the explosive setting a loss or weight becomes NaN or infinite, or test "
    f"accuracy ends below {NOTHING_LEARNT:g}. Supported where the share's 95% Clopper-Pearson interval lies above "
    f"{MAJORITY:.0%}, contradicted where it lies below.",
    "C5": "Primary test: most runs of the same setting under clipnorm 1 end complete with a test accuracy of at least "
    f"{LEARNT:g}; bounds as for C4.",
    "C6": "The explosive setting with each remedy in turn, unclipped. A remedy works where most runs escape what C4 describes, "
    f"fails where most don't: the share's 95% Clopper-Pearson interval lies above, or below, {MAJORITY:.0%}, and its p, "
    "Holm-adjusted over the remedies, below 5%. Supported where all work, contradicted where none does and one fails, supported "
    "in part where some work and some don't.",
    "C7": "The last epoch's training loss with clipnorm 1 and a threshold of 5 for the output layer, against 1 for all layers, "
    f"paired by seed. Supported where the 95% interval lies below a rise of {TOLERATED_RISE:g} nats, contradicted where it lies "
    "above it.",
    "C8": "All unclipped runs of the reproduction. A run is warned of at its first gradient norm above "
    f"{SPIKE:.0f} times the running median. Supported where most runs that diverged or learnt nothing had been warned of at an "
    f"earlier step (95% interval above {MAJORITY:.0%}) and most that ended with a test accuracy of at least {LEARNT:g} had not; "
    f"contradicted where most that ended badly had not. The stronger warning, above {EXPLOSION:,.0f} times, stands beside it.",
}
REMEDIES = {
    "explode-small-rate": "a tenth of the rate",
    "explode-l2": "L2 penalty 0.001",
    "explode-strong-l2": "L2 penalty 0.01",
    "explode-scaled-inputs": "inputs a tenth as large",
    "explode-mse": "squared error on one-hot targets",
}
COUNTERPARTS = {
    "explode-unscaled-inputs": "inputs of 0 to 255",
    "explode-large-targets": "squared error on targets of ten",
}
"""The opposite of two remedies, as description: what scaling the inputs and the targets spares one."""
ASSUMED = (
    "the loss (cross-entropy on logits)",
    "the optimizer and its rate (SGD at 0.01, Keras's default)",
    "the LSTM's activation (tanh)",
    "the thresholds (0.5 for clipvalue, 1.0 for clipnorm: the article's examples)",
)


class ClaimVerdict(StrEnum):
    """How the stored runs answer a claim."""

    SUPPORTED = "supported"
    IN_PART = "supported in part"
    CONTRADICTED = "contradicted"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True)
class Answer:
    """One claim with what was measured."""

    id: str
    verdict: ClaimVerdict
    measured: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def claim(self) -> str:
        """The claim in our words."""
        return CLAIMS[self.id]


@dataclass(frozen=True)
class PrimaryTest:
    """A claim's test before Holm's adjustment; `supports` is the direction seen."""

    id: str
    p: float
    supports: bool
    measured: str
    figures: Mapping[str, Any]
    decisive: bool = True
    """Whether what else the rule asks for holds too, as C4's and C5's intervals."""


def answer(
    arms: Mapping[str, Arm], loss: Comparison, loss_area: Comparison, steps: Comparison, layers: Comparison
) -> list[Answer]:
    """Answer all claims.

    `loss`, `loss_area` and `steps` compare none, clipnorm and clipvalue by these metrics, `layers` wide-output with clipnorm
    by training loss.
    """
    tests = [
        _training_loss(loss),
        _convergence(loss_area, steps),
        _share_test("C4", arms["explode-none"], "diverged or learnt nothing", exploded(arms["explode-none"])),
        _share_test("C5", arms["explode-clipnorm"], "learnt", learnt(arms["explode-clipnorm"])),
    ]
    adjusted = stats.holm([test.p for test in tests])
    decided = [_decided(test, p) for test, p in zip(tests, adjusted, strict=True)]
    return [bound_kept(list(arms.values())), *decided, remedies(arms), output_threshold(layers), warned(list(arms.values()))]


def exploded(arm: Arm) -> BoolArray:
    """Which runs diverged or learnt nothing, (seeds,)."""
    return np.asarray(arm.diverged | (arm.scored("val_accuracy")[:, -1] < NOTHING_LEARNT))


def learnt(arm: Arm) -> BoolArray:
    """Which runs ended complete and learnt, (seeds,)."""
    return np.asarray(~arm.diverged & (arm.scored("val_accuracy")[:, -1] >= LEARNT))


def remedies(arms: Mapping[str, Arm]) -> Answer:
    """C6, from the arms of the remedies in the explosive setting."""
    shares = [Share.of(~exploded(arms[name])) for name in REMEDIES]
    adjusted = stats.holm([share.p for share in shares])
    works = [share.low > MAJORITY and p < stats.LEVEL for share, p in zip(shares, adjusted, strict=True)]
    fails = [share.high < MAJORITY and p < stats.LEVEL for share, p in zip(shares, adjusted, strict=True)]
    if all(works):
        verdict = ClaimVerdict.SUPPORTED
    elif any(works):
        verdict = ClaimVerdict.IN_PART
    else:
        verdict = ClaimVerdict.CONTRADICTED if any(fails) else ClaimVerdict.NOT_SHOWN
    escaped = [
        f"{what}: {share.text} escaped, {int(learnt(arms[name]).sum())} learnt"
        for (name, what), share in zip(REMEDIES.items(), shares, strict=True)
    ]
    beside = [f"with {what} {Share.of(~exploded(arms[name])).text} did" for name, what in COUNTERPARTS.items()]
    measured = f"{'; '.join(escaped)}. The other way round, {' and '.join(beside)}."
    figures = {
        name: {**asdict(share), "p_adjusted": p, "learnt": int(learnt(arms[name]).sum())}
        for name, share, p in zip(REMEDIES, shares, adjusted, strict=True)
    }
    return Answer("C6", verdict, measured, figures)


def output_threshold(layers: Comparison) -> Answer:
    """C7, from wide-output against clipnorm."""
    (report,) = layers.others
    against = _against(layers, report.arm.name)
    if not math.isfinite(against.low):
        verdict = ClaimVerdict.NOT_SHOWN
    elif against.high < TOLERATED_RISE:
        verdict = ClaimVerdict.SUPPORTED
    else:
        verdict = ClaimVerdict.CONTRADICTED if against.low > TOLERATED_RISE else ClaimVerdict.NOT_SHOWN
    return Answer("C7", verdict, _difference(layers, report.arm.name), _figures(layers, report.arm.name))


def warned(arms: Sequence[Arm]) -> Answer:
    """C8, from the warnings that unclipped runs recorded while they were trained."""
    unclipped = [arm for arm in arms if arm.config.clipping.mode == "none"]
    if any("health" not in run.metadata for arm in unclipped for run in arm.runs):
        return Answer("C8", ClaimVerdict.NOT_SHOWN, "Not all unclipped runs recorded whether they had been warned of.")
    ended = {
        "badly": [run for arm in unclipped for run, bad in zip(arm.runs, exploded(arm), strict=True) if bad],
        "well": [run for arm in unclipped for run, good in zip(arm.runs, learnt(arm), strict=True) if good],
    }
    if not all(ended.values()):
        return Answer("C8", ClaimVerdict.NOT_SHOWN, "Not enough unclipped runs: some must end badly, others well.")
    shares = {
        (kind, how): Share.of(np.array([warning_lead(run, kind) is not None for run in runs]))
        for how, runs in ended.items()
        for kind in ("first_spike", "first_explosion")
    }
    bad, well = shares["first_spike", "badly"], shares["first_spike", "well"]
    if bad.low > MAJORITY and well.high < MAJORITY:
        verdict = ClaimVerdict.SUPPORTED
    else:
        verdict = ClaimVerdict.CONTRADICTED if bad.high < MAJORITY else ClaimVerdict.NOT_SHOWN
    leads = {kind: sorted(_leads(ended["badly"], kind)) for kind in ("first_spike", "first_explosion")}
    measured = (
        f"{bad.text} unclipped runs that ended badly had been warned of before{_early(leads['first_spike'])}, and so were "
        f"{well.text} that ended well. Above {EXPLOSION:,.0f} times the running median: "
        f"{shares['first_explosion', 'badly'].text} that ended badly{_early(leads['first_explosion'])}, "
        f"{shares['first_explosion', 'well'].text} that ended well."
    )
    figures = {f"{kind}, ended {how}": asdict(share) for (kind, how), share in shares.items()}
    return Answer("C8", verdict, measured, {**figures, "leads": leads})


def warning_lead(run: StoredRun, kind: str) -> int | None:
    """Steps from a run's first warning of a kind (first_spike, first_explosion) to its end; None if it came with it or never."""
    warning = (run.metadata["health"] or {}).get(kind)
    lead = run.metadata["steps"] - warning["step"] if warning else 0
    return lead if lead > 0 else None


def _leads(runs: Sequence[StoredRun], kind: str) -> list[int]:
    return [lead for run in runs if run.diverged and (lead := warning_lead(run, kind)) is not None]


def _early(leads: Sequence[int]) -> str:
    if not leads:
        return ""
    return f" (diverged ones {leads[0]} to {leads[-1]} steps before, median {np.median(leads):.0f})"


def bound_kept(arms: Sequence[Arm]) -> Answer:
    """C1, from the largest applied gradient that each clipped run recorded over its threshold."""
    clipped = [run for arm in arms for run in arm.runs if run.config.threshold is not None]
    largest = [run.metadata["largest_applied"] for run in clipped if run.metadata.get("largest_applied") is not None]
    if not clipped or len(largest) < len(clipped):
        return Answer("C1", ClaimVerdict.NOT_SHOWN, "Not all clipped runs recorded their largest applied gradient.")
    steps = sum(run.metadata["steps"] for run in clipped)
    excesses = np.array([value - 1 for value in largest])
    allowed = np.array([rounding_bound(run.config) for run in clipped])
    within = int((excesses <= PART_IN_A_MILLION).sum())
    measured = (
        f"Over {steps:,} steps in {len(clipped)} clipped runs, the largest excess of an applied gradient over its threshold was "
        f"{excesses.max():.2g} of it, where rounding can explain {allowed[excesses.argmax()]:.2g}. "
        f"{within} of {len(clipped)} runs stayed within one part in a million throughout."
    )
    figures = {"runs": len(clipped), "steps": steps, "largest_excess": excesses.max(), "runs_within_a_millionth": within}
    verdict = ClaimVerdict.SUPPORTED if (excesses <= allowed).all() else ClaimVerdict.CONTRADICTED
    return Answer("C1", verdict, measured, figures)


def rounding_bound(config: Config) -> float:
    """How far float32 rounding of a clipped norm may carry it over its threshold, as a share: 2^-24 an element summed."""
    sizes = [value.size for value in problem_of(config).initial_weights(0).values()]
    return config.clipping.scope.summed(sizes) * FLOAT32_ROUNDING


def _training_loss(loss: Comparison) -> PrimaryTest:
    against = _against(loss, "clipvalue")
    return PrimaryTest("C2", against.p, against.mean < 0, _difference(loss, "clipvalue"), _figures(loss, "clipvalue"))


def _convergence(loss_area: Comparison, steps: Comparison) -> PrimaryTest:
    against = _against(loss_area, "clipvalue")
    beside = f"Beside it: {_difference(steps, 'clipvalue')} {_difference(loss_area, 'clipnorm')}"
    figures = {
        **_figures(loss_area, "clipvalue"),
        "steps_to_target": _figures(steps, "clipvalue"),
        "target_loss": steps.yardstick.target_loss,
    }
    return PrimaryTest("C3", against.p, against.mean < 0, f"{_difference(loss_area, 'clipvalue')} {beside}", figures)


@dataclass(frozen=True)
class Share:
    """How many of some runs something happened to, with its Clopper-Pearson interval and its p against one half."""

    count: int
    runs: int
    low: float
    high: float
    p: float

    @classmethod
    def of(cls, happened: BoolArray) -> Share:
        """The share of runs, (runs,), to which it happened."""
        count, total = int(happened.sum()), len(happened)
        return cls(count, total, *stats.share_interval(count, total), stats.share_p(count, total, MAJORITY))

    @property
    def text(self) -> str:
        """Such as `9 of 10 (55% to 100%)`."""
        return f"{self.count} of {self.runs} ({percent(self.low, 0)} to {percent(self.high, 0)})"


def _share_test(claim: str, arm: Arm, what: str, happened: BoolArray) -> PrimaryTest:
    share = Share.of(happened)
    count, total, low, high = share.count, share.runs, share.low, share.high
    accuracy = arm.scored("val_accuracy")[:, -1]
    diverged = [run.metadata["diverged"]["step"] for run in arm.runs if run.diverged]
    when = f" {len(diverged)} became NaN or infinite, between steps {min(diverged)} and {max(diverged)}." if diverged else ""
    shares = f"{percent(count / total, 0)}; 95% interval {percent(low, 0)} to {percent(high, 0)}"
    measured = f"{count} of {total} runs {what} ({shares}).{when}"
    measured += (
        f" Test accuracy, a diverged run counted as chance: median {np.median(accuracy):.3f}, lowest {accuracy.min():.3f}."
    )
    figures = {
        "count": count,
        "runs": total,
        "low": low,
        "high": high,
        "accuracies": accuracy.tolist(),
        "diverged_steps": diverged,
    }
    return PrimaryTest(claim, share.p, count / total > MAJORITY, measured, figures, decisive=low > MAJORITY or high < MAJORITY)


def _decided(test: PrimaryTest, p: float) -> Answer:
    verdict = ClaimVerdict.NOT_SHOWN
    if p < stats.LEVEL and test.decisive:
        verdict = ClaimVerdict.SUPPORTED if test.supports else ClaimVerdict.CONTRADICTED
    measured = f"{test.measured} Adjusted p of the primary test: {shown_p(p)}."
    return Answer(test.id, verdict, measured, {**test.figures, "p": test.p, "p_adjusted": p})


def _against(comparison: Comparison, arm: str) -> Any:
    return next(report.against for report in comparison.others if report.arm.name == arm)


def _difference(comparison: Comparison, arm: str) -> str:
    against, unit = _against(comparison, arm), comparison.metric.unit
    facts = (
        f"95% interval {unit.shown(against.low)} to {unit.shown(against.high)}; "
        f"better on {against.won} of {counted(len(against.seeds), 'seed')}"
    )
    mean = unit.amount(against.mean, sign=True)
    return f"{arm} minus {comparison.baseline.arm.name} in {comparison.metric.title}: {mean} ({facts})."


def _figures(comparison: Comparison, arm: str) -> dict[str, Any]:
    against = _against(comparison, arm)
    names = ("seeds", "differences", "mean", "low", "high", "won", "lost", "tied")
    return {name: getattr(against, name) for name in names}
