"""What claims measure by: how a run ended, a share of runs, a paired difference; and their tests as members of the family."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradclip_cli.arrays import BoolArray
from gradclip_cli.article.claim import Answer, ClaimVerdict, PrimaryTest, decided
from gradclip_cli.config.article import Model
from gradclip_cli.config.schema import Config
from gradclip_cli.config.seeds import seed_list
from gradclip_cli.evidence import stats
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.judging import AgainstBaseline, judged
from gradclip_cli.evidence.questions import Question
from gradclip_cli.evidence.remarks import treatment_sentence
from gradclip_cli.evidence.samples import seeds_for_a_verdict
from gradclip_cli.evidence.sentences import both_figures, interval_name
from gradclip_cli.evidence.stats import LEVEL
from gradclip_cli.evidence.verdicts import Judgement, Pair, judged_together
from gradclip_cli.texts import counted, p_relation, percent

NOTHING_LEARNT = 0.2
"""Test accuracy below which a run learnt nothing: twice chance."""
LEARNT = 0.6
"""Test accuracy from which a run of the explosive setting learnt."""
MAJORITY = 0.5
SEEN = range(8)
"""Seeds whose test accuracies had been seen when the cut-offs of the primary claims were written (results/LOG.md)."""
CELLS = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "SimpleRNN"}
USUAL_ACTIVATION = "tanh"


def exploded(arm: Arm) -> BoolArray:
    """Which runs diverged or learnt nothing, (seeds,)."""
    return np.asarray(arm.diverged | (arm.scored("val_accuracy")[:, -1] < NOTHING_LEARNT))


def learnt(arm: Arm) -> BoolArray:
    """Which runs ended complete and learnt, (seeds,)."""
    return np.asarray(~arm.diverged & (arm.scored("val_accuracy")[:, -1] >= LEARNT))


def unseen(seeds: Iterable[int]) -> list[int]:
    """Those of the seeds that nobody had seen when cut-offs were written."""
    return [seed for seed in seeds if seed not in SEEN]


def article_model(config: Config) -> Model:
    """The model of a config of the article's kind."""
    assert isinstance(config.model, Model)
    return config.model


def setting(config: Config) -> str:
    """What was trained and for how long, such as `LSTM(10), 5,000 steps`."""
    model, training = article_model(config), config.training
    shape = ", ".join([str(model.units), *([model.activation] if model.activation != USUAL_ACTIVATION else [])])
    return f"{CELLS[model.cell]}({shape}), {counted(training.epochs * training.steps_per_epoch, 'step')}"


@dataclass(frozen=True)
class Share:
    """How many of some runs something happened to, with its Clopper-Pearson interval and its p against one half."""

    count: int
    runs: int
    low: float
    high: float
    p: float

    @classmethod
    def of(cls, happened: BoolArray, level: float = LEVEL) -> Share:
        """The share of runs, (runs,), to which it happened; its interval is at 95% unless another level is given."""
        count, total = int(happened.sum()), len(happened)
        return cls(count, total, *stats.share_interval(count, total, level), stats.half_p(count, total))

    @property
    def is_most(self) -> bool:
        """Whether the interval lies above one half."""
        return self.low > MAJORITY

    @property
    def is_few(self) -> bool:
        """Whether the interval lies below one half."""
        return self.high < MAJORITY

    @property
    def text(self) -> str:
        """Such as `9 of 10 (55% to 100%)`."""
        return f"{self.count} of {self.runs} ({percent(self.low, 0)} to {percent(self.high, 0)})"


@dataclass(frozen=True)
class ShareTest(PrimaryTest):
    """Whether something happened to most runs of an arm."""

    arm: Arm
    did: str
    """What they did, in words."""
    happened: BoolArray
    """(seeds,)"""
    condition: str
    """Under which the verdict holds."""
    acted: float | None = None
    """The share of steps on which the arm was clipped, where it is clipping's doing."""
    beside: Sequence[str] = ()
    """Further sentences."""

    @property
    def p(self) -> float:
        return Share.of(self.happened).p

    def answer(self, judgement: Judgement) -> Answer:
        share = Share.of(self.happened, judgement.level)
        verdict = decided(judgement, supports=share.count > MAJORITY * share.runs, acted=self.acted)
        measured = f"{self._shares(share, judgement)} {self._ends}"
        figures = {
            **vars(share),
            "p_adjusted": judgement.p_adjusted,
            "level": judgement.level,
            "acted": self.acted,
            "accuracies": self._accuracies.tolist(),
            "diverged_steps": self._diverged_steps,
        }
        return Answer(verdict.under(self.condition), measured, figures, [*self._on_unseen, *self.beside])

    def _shares(self, share: Share, judgement: Judgement) -> str:
        config, part = self.arm.config, share.count / share.runs
        interval = f"{interval_name(judgement)} {percent(share.low, 0)} to {percent(share.high, 0)}"
        return (
            f"{setting(config)} at {config.optimizer.label}: {share.count} of {share.runs} runs of {self.arm.name} {self.did} "
            f"({percent(part, 0)}; {interval}; {p_relation(judgement.p_adjusted)})."
        )

    @property
    def _ends(self) -> str:
        steps, accuracies = self._diverged_steps, self._accuracies
        when = f"{len(steps)} became NaN or infinite, between steps {min(steps)} and {max(steps)}. " if steps else ""
        return (
            f"{when}Test accuracy, a diverged run counted as chance: median {np.median(accuracies):.3f}, "
            f"lowest {accuracies.min():.3f}."
        )

    @property
    def _accuracies(self) -> np.ndarray[Any, Any]:
        return np.asarray(self.arm.scored("val_accuracy")[:, -1])

    @property
    def _diverged_steps(self) -> list[int]:
        return [run.metadata["diverged"]["step"] for run in self.arm.runs if run.diverged]

    @property
    def _on_unseen(self) -> list[str]:
        seeds = unseen(self.arm.seeds)
        if not 0 < len(seeds) < len(self.arm.seeds):
            return []
        share = Share.of(self.happened[np.isin(self.arm.seeds, seeds)])
        return [f"{_of_unseen(seeds)}: {share.text}."]


@dataclass(frozen=True)
class Difference:
    """One arm against another in a metric, paired by seed."""

    pair: Pair

    @classmethod
    def of(cls, arm: Arm, base: Arm, metric: str, margin: float | None = None) -> Difference:
        """Compare two arms, which have seeds in common, by a metric's name; `margin` as of a `Question`."""
        pair = Pair.of(base, arm, Question(metric, margin=margin).put_to(base))
        assert pair is not None
        return cls(pair)

    @property
    def against(self) -> AgainstBaseline:
        """Judged by itself."""
        (judgement,) = judged_together([self.pair])
        return judged(self.pair, judgement)

    @property
    def sentence(self) -> str:
        """What it comes to, judged by itself."""
        return self.against.sentence

    @property
    def figures(self) -> dict[str, Any]:
        """For JSON, judged by itself."""
        return figures_of(self.against)

    @property
    def on_unseen(self) -> Difference | None:
        """The same on unseen seeds alone; None where they are all, or too few for an interval."""
        seeds = unseen(self.pair.arm.seeds)
        return self.on(seeds) if seeds_for_a_verdict(1) <= len(seeds) < len(self.pair.arm.seeds) else None

    def on(self, seeds: Sequence[int]) -> Difference:
        """The same on some of its seeds."""
        return Difference.of(self.pair.arm.only(seeds), self.pair.base.only(seeds), self.pair.yardstick.metric.name)


FIGURES = ("seeds", "differences", "typical", "low", "high", "level", "mean", "median", "carriers", "won", "lost", "tied", "p")


def figures_of(against: AgainstBaseline) -> dict[str, Any]:
    """Each seed's difference and what they come to, for JSON."""
    return {name: getattr(against, name) for name in (*FIGURES, "p_adjusted", "acted")}


def _nothing(difference: Difference) -> list[str]:
    return []


@dataclass(frozen=True)
class DifferenceTest(PrimaryTest):
    """Whether an arm is typically better than another."""

    difference: Difference
    beside: Sequence[str] = ()
    """Further sentences."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Further figures."""
    explained: Callable[[Difference], list[str]] = _nothing
    """Sentences on where a difference comes from: this one, or the same at other rates."""
    at_best_rates: str = ""
    """What is left of the difference at each arm's own best rate, in sentences."""
    kind: str = ""
    """What kind of difference it is, where the verdict alone would say too much."""

    @property
    def p(self) -> float:
        return self.difference.pair.differences.p

    def answer(self, judgement: Judgement) -> Answer:
        pair = self.difference.pair
        against, alone = judged(pair, judgement), self.difference.on_unseen
        decision = decided(judgement, supports=pair.better, acted=pair.acted)
        verdict = decision.under(_condition(pair))
        if self.kind and decision == ClaimVerdict.SUPPORTED:
            verdict = f"{verdict}: {self.kind}"
        measured = f"{setting(pair.arm.config)}: {against.sentence} {self.at_best_rates}".strip()
        figures = {**figures_of(against), "on_unseen_seeds": alone.figures if alone else None, **self.figures}
        beside = [
            *self.explained(self.difference),
            *carriers_told(pair),
            *([f"{_not_of_the_first_look(alone.pair.arm.seeds)}: {_briefly(alone)}."] if alone else []),
            *treatment_told(pair),
            *self.beside,
        ]
        return Answer(verdict, measured, figures, beside)


def _condition(pair: Pair) -> str:
    ours, theirs = pair.arm.config.optimizer.label, pair.base.config.optimizer.label
    return f"at {ours}" if ours == theirs else ""


def carriers_told(pair: Pair) -> list[str]:
    """A sentence on how many seeds give half of the average, where the verdict's own sentence doesn't say it."""
    differences = pair.differences
    if not differences.carriers or differences.carried_by_few or differences.opposed:
        return []
    shares = np.sort(differences.values / differences.values.sum())[::-1]
    give = "gives" if differences.carriers == 1 else "give"
    alone = f", one of them {percent(shares[0], 0)}" if differences.carriers > 1 else ""
    together = percent(float(shares[: differences.carriers].sum()), 0)
    return [f"Of the average, {counted(differences.carriers, 'seed')} of {differences.seeds} {give} {together}{alone}."]


def treatment_told(pair: Pair) -> list[str]:
    """A sentence on what clipping did; none where that isn't known."""
    told = treatment_sentence(pair.base, pair.arm, pair.acted)
    return [told] if told else []


def typical_with_interval(difference: Difference) -> str:
    """Judged by itself, such as `+0.8 points typically (95% interval 0.2 to 1.9)`."""
    unit, against = difference.pair.yardstick.metric.unit, difference.against
    low, high = unit.shown(against.low), unit.shown(against.high)
    return f"{unit.amount(against.typical, sign=True)} typically (95% interval {low} to {high})"


def _briefly(difference: Difference) -> str:
    unit, against = difference.pair.yardstick.metric.unit, difference.against
    return (
        f"{both_figures(difference.pair)} (95% interval of the typical difference {unit.shown(against.low)} to "
        f"{unit.shown(against.high)})"
    )


def _of_unseen(seeds: Sequence[int]) -> str:
    return f"On the {counted(len(seeds), 'seed')} alone that nobody had seen when cut-offs were written ({seed_list(seeds)})"


def _not_of_the_first_look(seeds: Sequence[int]) -> str:
    return f"On the {counted(len(seeds), 'seed')} alone that were not part of the first look ({seed_list(seeds)})"
