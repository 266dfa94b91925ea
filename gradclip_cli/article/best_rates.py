"""Arms at their own best learning rates, from a stored sweep: what is left of a difference at one rate for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gradclip_cli.article.claim import PrimaryTest
from gradclip_cli.article.measures import Difference, DifferenceTest, carriers_told, treatment_told
from gradclip_cli.config.grids import LEARNING_RATE
from gradclip_cli.config.seeds import seed_list
from gradclip_cli.errors import ReportError, StoreError
from gradclip_cli.evidence.arms import Arm, other_differences, read_arms
from gradclip_cli.evidence.plans import BEST, SWEEP, SWEEP_SCHEMA
from gradclip_cli.evidence.stats import LEVEL
from gradclip_cli.files import read_json

UNKNOWN = (
    "What is left of it at each arm's own best learning rate was not looked at here: `gradclip sweep stability` trains that, and "
    "`gradclip reproduce --best-rates FOLDER` shows it here."
)


@dataclass(frozen=True)
class BestRates:
    """A finished sweep's runs at each rule's best learning rate, and how that was chosen."""

    name: str
    rates: Sequence[str]
    """That were tried."""
    chosen_on: str
    """The split by whose accuracy they were chosen."""
    seeds: Sequence[int]
    """On which they were chosen."""
    arms: Sequence[Arm]

    def same(self, difference: Difference) -> Difference | None:
        """The same difference between the same rules, each at its best rate; None where the sweep has it not."""
        arm, base = self._twin(difference.pair.arm), self._twin(difference.pair.base)
        return Difference.of(arm, base, difference.pair.yardstick.metric.name) if arm and base else None

    def _twin(self, arm: Arm) -> Arm | None:
        return next((twin for twin in self.arms if _differ_in_rate_only(arm, twin)), None)

    def told(self, test: DifferenceTest) -> str:
        """What is left of a test's difference, in sentences."""
        there = self.same(test.difference)
        if there is None:
            return f"The sweep {self.name} has nothing of these arms at their own best learning rates."
        how = (
            f"of {', '.join(self.rates)} and nothing between, chosen by mean {self.chosen_on} accuracy on {len(self.seeds)} "
            f"seeds; compared on fresh ones, {seed_list(there.pair.arm.seeds)}"
        )
        carried = carriers_told(there.pair) if there.pair.differences.p < LEVEL else []
        told = " ".join([there.sentence, *carried, *treatment_told(there.pair), *test.explained(there)])
        return f"At each arm's own best learning rate ({how}, as description): {told}"


def _differ_in_rate_only(arm: Arm, twin: Arm) -> bool:
    other = {key for key, *_ in other_differences(arm, twin)} - {LEARNING_RATE}
    return arm.config.clipping == twin.config.clipping and not other


def read_best_rates(folder: Path) -> BestRates:
    """Read a sweep's choice and its runs at the best rates. Raises ReportError where there is none over learning rates."""
    try:
        sweep = read_json(folder / SWEEP, SWEEP_SCHEMA)
        rates = {axis["key"]: axis["values"] for axis in sweep["axes"]}[LEARNING_RATE]
        name, chosen_on, seeds, fresh = (sweep[key] for key in ("name", "chosen_on", "seeds", "fresh_seeds"))
    except (StoreError, KeyError, TypeError) as error:
        raise ReportError(f"{folder}: no finished sweep over learning rates ({error})") from None
    arms, _ = read_arms(folder / BEST)
    return BestRates(name, rates, chosen_on, seeds, [arm.only(fresh) for arm in arms])


def with_best_rates(test: PrimaryTest, best: BestRates | None) -> PrimaryTest:
    """A test of a difference with what is left of it at best rates beside; any other test as it is."""
    if not isinstance(test, DifferenceTest):
        return test
    there = best.same(test.difference) if best else None
    figures = {**test.figures, "at_best_rates": there.figures if there else None}
    return replace(test, at_best_rates=best.told(test) if best else UNKNOWN, figures=figures)
