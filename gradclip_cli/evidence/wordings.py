"""What is said of two arms by how their runs were compared: by seed, or unpaired."""

from __future__ import annotations

from dataclasses import dataclass

from gradclip_cli.evidence.samples import seeds_for_a_verdict
from gradclip_cli.evidence.stats import share_interval
from gradclip_cli.evidence.two_samples import runs_for_a_verdict
from gradclip_cli.evidence.unpaired import Unpaired
from gradclip_cli.evidence.verdicts import Pair, TwoArms, Verdict
from gradclip_cli.texts import counted, p_relation, percent

SEEDS_FOR_A_BOUND = 8
"""From so many seeds on the false verdicts under skewed differences are bounded: see docs/statistics.md."""
UNEQUAL = 1.5
"""Up to so many times the other arm's runs no more than 9% of verdicts are false where these spread three times as wide."""


@dataclass(frozen=True)
class BySeed:
    """Of a pair."""

    pair: Pair

    @property
    def runs(self) -> str:
        """What was compared, such as `8 shared seeds`."""
        return counted(self.pair.differences.seeds, "shared seed")

    @property
    def on_runs(self) -> str:
        """The same as where something was seen."""
        return f"on {self.runs}"

    @property
    def is_single(self) -> bool:
        """Whether there is but one difference."""
        return self.pair.differences.seeds == 1

    def enough(self, tests: int) -> str:
        """What a verdict takes as one of so many."""
        return f"{seeds_for_a_verdict(tests)} seeds"

    def facts(self) -> list[str]:
        """What stands beside interval and p."""
        unit, differences = self.pair.yardstick.metric.unit, self.pair.differences
        median = f"median {unit.shown(differences.median, sign=True)}"
        return [median, f"better on {self.pair.won} of {counted(differences.seeds, 'seed')}"]

    def two_stories(self) -> list[str]:
        """A sentence where most seeds and the average say different things."""
        differences = self.pair.differences
        give = "gives" if differences.carriers == 1 else "give"
        few = f"{counted(differences.carriers, 'seed')} of {differences.seeds} {give} half or more"
        if differences.opposed:
            most, average = ("Better", "worse") if self.pair.better else ("Worse", "better")
            return [f"{most} on most seeds, {average} on average: {few} of that average."]
        return [f"The average is not typical: {few} of it."] if differences.carried_by_few else []

    def tied(self) -> list[str]:
        """A sentence where ties leave the test little to decide by, with the exact test of what is not tied."""
        differences = self.pair.differences
        if not differences.much_tied:
            return []
        differ = differences.seeds - differences.zero
        return [
            f"{differences.zero} of {differences.seeds} seeds are tied, so that what is typical can hardly decide; where they "
            f"differ it is better on {self.pair.won} of {differ} (exact sign test, {p_relation(differences.sign_p)})."
        ]

    def few(self, verdict: Verdict) -> list[str]:
        """A sentence on a verdict from fewer seeds than its error rate is bounded for."""
        if self.pair.differences.seeds >= SEEDS_FOR_A_BOUND or verdict not in (Verdict.HELPS, Verdict.HURTS):
            return []
        return [
            f"With fewer than {SEEDS_FOR_A_BOUND} seeds up to 9% of such verdicts are false where differences are skewed: "
            "train more."
        ]

    def rare(self) -> str:
        """How many seeds lie beyond the margin, and may."""
        seeds, beyond = self.pair.differences.seeds, self.pair.beyond_margin
        return f"{beyond} of {seeds} seeds are worse by more; {_of_all(beyond, seeds)}"


@dataclass(frozen=True)
class ByRun:
    """Of arms that aren't paired."""

    pair: Unpaired

    @property
    def runs(self) -> str:
        """What was compared, such as `8 unpaired runs against 7`."""
        ours, theirs = self.pair.differences.sizes
        return f"{counted(ours, 'unpaired run')} against {theirs:,}"

    @property
    def on_runs(self) -> str:
        """The same as where something was seen."""
        return f"in {self.runs}"

    @property
    def is_single(self) -> bool:
        """Whether there is but one difference."""
        return len(self.pair.differences.gaps) == 1

    def enough(self, tests: int) -> str:
        """What a verdict takes as one of so many."""
        return f"{runs_for_a_verdict(tests)} runs of each"

    def facts(self) -> list[str]:
        """What stands beside interval and p."""
        pairs = len(self.pair.differences.gaps)
        level = f" and as good in {percent(self.pair.differences.zero / pairs, 0)}" if self.pair.differences.zero else ""
        return [f"{self.runs}: better in {percent(self.pair.won / pairs, 0)}{level} of all pairs of runs"]

    def two_stories(self) -> list[str]:
        """A sentence where what is typical and the average say different things."""
        if not self.pair.differences.opposed:
            return []
        most, average = ("Better", "worse") if self.pair.better else ("Worse", "better")
        return [f"{most} typically, {average} on average: few runs make that average."]

    def tied(self) -> list[str]:
        """A sentence where ties leave the test little to decide by."""
        differences = self.pair.differences
        if not differences.much_tied:
            return []
        share = percent(differences.zero / len(differences.gaps), 0)
        return [f"{share} of all pairs of runs are tied, which speaks against a verdict: what is typical can hardly decide."]

    def few(self, verdict: Verdict) -> list[str]:
        """A sentence on a verdict from so unequal numbers of runs that its error rate is not bounded."""
        arms = sorted((self.pair.base, self.pair.arm), key=lambda arm: len(arm.runs))
        fewer, more = (len(arm.runs) for arm in arms)
        if more <= UNEQUAL * fewer or verdict not in (Verdict.HELPS, Verdict.HURTS):
            return []
        return [
            "With so unequal numbers of runs 10% and more of such verdicts are false where the fewer spread three times as wide: "
            f"train more of {arms[0].name}."
        ]

    def rare(self) -> str:
        """How many of the arm's runs lie beyond the margin, and may."""
        runs, beyond = len(self.pair.arm.runs), self.pair.beyond_margin
        return f"{beyond} of {counted(runs, 'run')} are worse than {self.pair.base.name} typically is by more; " + _of_all(
            beyond, runs
        )


def _of_all(count: int, total: int) -> str:
    return f"up to {percent(share_interval(count, total)[1], 0)} of all may be"


def wording(pair: TwoArms) -> BySeed | ByRun:
    """The words for two arms."""
    if isinstance(pair, Pair):
        return BySeed(pair)
    assert isinstance(pair, Unpaired)
    return ByRun(pair)
