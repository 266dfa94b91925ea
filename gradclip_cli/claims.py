"""The article's claims, the rules that decide them, and what the stored runs say to each.

The rules stand here before any data. C1 is checked on every applied gradient. C2 to C5 are the primary tests, one Holm
family at 5%; all else is description.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradclip_cli import stats
from gradclip_cli.arms import Arm
from gradclip_cli.comparison import Comparison
from gradclip_cli.data import CLASSES, FEATURES
from gradclip_cli.metrics import amount, told, told_p
from gradclip_cli.schema import Config
from gradclip_cli.weights import initial_weights

PART_IN_A_MILLION = 1e-6
FLOAT32_ROUNDING = 2.0**-24
NOTHING_LEARNT = 0.2
"""Test accuracy below which a run learnt nothing: twice chance."""
LEARNT = 0.6
"""Test accuracy from which a run of the explosive setting learnt."""
MAJORITY = 0.5

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
}
ASSUMED = (
    "the loss (cross-entropy on logits)",
    "the optimizer and its rate (SGD at 0.01, Keras's default)",
    "the LSTM's activation (tanh)",
    "the thresholds (0.5 for clipvalue, 1.0 for clipnorm: the article's examples)",
)


@dataclass(frozen=True)
class Answer:
    """One claim with what was measured: `verdict` is supported, contradicted, not shown, or not measured yet."""

    id: str
    verdict: str
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


def answer(arms: Mapping[str, Arm], loss: Comparison, loss_area: Comparison, steps: Comparison) -> list[Answer]:
    """Answer all claims. `loss`, `loss_area` and `steps` compare none, clipnorm and clipvalue by these metrics."""
    tests = [
        _training_loss(loss),
        _convergence(loss_area, steps),
        _share_test("C4", arms["explode-none"], "diverged or learnt nothing", exploded(arms["explode-none"])),
        _share_test("C5", arms["explode-clipnorm"], "learnt", learnt(arms["explode-clipnorm"])),
    ]
    adjusted = stats.holm([test.p for test in tests])
    decided = [_decided(test, p) for test, p in zip(tests, adjusted, strict=True)]
    later = [Answer(claim, "not measured yet", "Nothing was measured for this claim.") for claim in ("C6", "C7", "C8")]
    return [bound_kept(list(arms.values())), *decided, *later]


def exploded(arm: Arm) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which runs diverged or learnt nothing, (seeds,)."""
    return np.asarray(arm.diverged | (arm.scored("val_accuracy")[:, -1] < NOTHING_LEARNT))


def learnt(arm: Arm) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which runs ended complete and learnt, (seeds,)."""
    return np.asarray(~arm.diverged & (arm.scored("val_accuracy")[:, -1] >= LEARNT))


def bound_kept(arms: Sequence[Arm]) -> Answer:
    """C1, from the largest applied gradient that each clipped run recorded over its threshold."""
    clipped = [run for arm in arms for run in arm.runs if run.config.threshold is not None]
    largest = [run.metadata["largest_applied"] for run in clipped if run.metadata.get("largest_applied") is not None]
    if not clipped or len(largest) < len(clipped):
        return Answer("C1", "not shown", "Not all clipped runs recorded their largest applied gradient.")
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
    return Answer("C1", "supported" if (excesses <= allowed).all() else "contradicted", measured, figures)


def rounding_bound(config: Config) -> float:
    """How far float32 rounding of a clipped norm may carry it over its threshold, as a share: 2^-24 an element summed."""
    sizes = [value.size for value in initial_weights(config.model, features=FEATURES, classes=CLASSES, seed=0).values()]
    elements = {"clipvalue": 1, "clipnorm": max(sizes)}.get(config.clipping.mode, sum(sizes))
    return elements * FLOAT32_ROUNDING


def _training_loss(loss: Comparison) -> PrimaryTest:
    against = _against(loss, "clipvalue")
    return PrimaryTest("C2", against.p, against.mean < 0, f"{_difference(loss, 'clipvalue')}", _figures(loss, "clipvalue"))


def _convergence(loss_area: Comparison, steps: Comparison) -> PrimaryTest:
    against = _against(loss_area, "clipvalue")
    beside = f"Beside it: {_difference(steps, 'clipvalue')} {_difference(loss_area, 'clipnorm')}"
    figures = {
        **_figures(loss_area, "clipvalue"),
        "steps_to_target": _figures(steps, "clipvalue"),
        "target_loss": steps.target_loss,
    }
    return PrimaryTest("C3", against.p, against.mean < 0, f"{_difference(loss_area, 'clipvalue')} {beside}", figures)


def _share_test(claim: str, arm: Arm, what: str, happened: np.ndarray[Any, np.dtype[np.bool_]]) -> PrimaryTest:
    count, total = int(happened.sum()), len(happened)
    low, high = stats.share_interval(count, total)
    p = stats.share_p(count, total, MAJORITY)
    accuracy = arm.scored("val_accuracy")[:, -1]
    diverged = [run.metadata["diverged"]["step"] for run in arm.runs if run.diverged]
    when = f" {len(diverged)} became NaN or infinite, between steps {min(diverged)} and {max(diverged)}." if diverged else ""
    measured = f"{count} of {total} runs {what} ({count / total:.0%}; 95% interval {low:.0%} to {high:.0%}).{when}"
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
    return PrimaryTest(claim, p, count / total > MAJORITY, measured, figures, decisive=low > MAJORITY or high < MAJORITY)


def _decided(test: PrimaryTest, p: float) -> Answer:
    significant = p < stats.LEVEL and test.decisive
    verdict = ("supported" if test.supports else "contradicted") if significant else "not shown"
    measured = f"{test.measured} Adjusted p of the primary test: {told_p(p)}."
    return Answer(test.id, verdict, measured, {**test.figures, "p": test.p, "p_adjusted": p})


def _against(comparison: Comparison, arm: str) -> Any:
    return next(report.against for report in comparison.others if report.arm.name == arm)


def _difference(comparison: Comparison, arm: str) -> str:
    against, metric = _against(comparison, arm), comparison.metric
    return (
        f"{arm} minus {comparison.baseline.arm.name} in {metric.told}: {amount(against.mean, metric, sign=True)} (95% interval "
        f"{told(against.low, metric)} to {told(against.high, metric)}; better on {against.won} of {len(against.seeds)} seeds)."
    )


def _figures(comparison: Comparison, arm: str) -> dict[str, Any]:
    against = _against(comparison, arm)
    names = ("seeds", "differences", "mean", "low", "high", "won", "lost", "tied")
    return {name: getattr(against, name) for name in names}


@dataclass(frozen=True)
class Spread:
    """Standard deviation of differences over pairs of runs, after the first epoch and at the end."""

    what: str
    accuracy_early: float
    accuracy_late: float
    loss_early: float
    loss_late: float


def noise_floor(base: Arm, control: Arm, others: Sequence[Arm]) -> list[Spread]:
    """How wide pairs differ: by rounding alone (the control), by clipping, and by nothing but the seed."""
    paired = [_spread(f"{arm.name} against {base.name}, same seed", base, arm) for arm in (control, *others)]
    unpaired = [np.sqrt(2) * base.scored(column)[:, epoch].std(ddof=1) for column, epoch in _SPREAD_COLUMNS]
    accuracies, losses = 100 * np.array(unpaired[:2]), unpaired[2:]
    return [*paired, Spread(f"two runs of {base.name} with different seeds", *accuracies.tolist(), *map(float, losses))]


_SPREAD_COLUMNS = (("val_accuracy", 0), ("val_accuracy", -1), ("loss", 0), ("loss", -1))


def _spread(what: str, base: Arm, arm: Arm) -> Spread:
    shared = set(base.seeds) & set(arm.seeds)
    base, arm = base.only(shared), arm.only(shared)
    deviations = [float((arm.scored(column) - base.scored(column))[:, epoch].std(ddof=1)) for column, epoch in _SPREAD_COLUMNS]
    return Spread(what, 100 * deviations[0], 100 * deviations[1], *deviations[2:])
