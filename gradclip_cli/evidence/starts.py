"""Whether twins, runs of one seed in two arms, had the same start: initial weights and the batches of the first epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from gradclip_cli.config.seeds import named_seeds
from gradclip_cli.evidence.arms import Arm, StoredRun, other_differences
from gradclip_cli.evidence.sentences import some_of

WEIGHTS, BATCHES = "initial_weights_sha256", "first_epoch_sha256"
IN_WORDS: Mapping[str, str] = MappingProxyType({WEIGHTS: "initial weights", BATCHES: "batches in the first epoch"})
SAID_BY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {WEIGHTS: ("model.", "data."), BATCHES: ("data.", "training.steps_per_epoch")}
)
"""Where the keys of a config begin that change what a run starts with."""
UNSAID: Mapping[str, str] = MappingProxyType({WEIGHTS: "not everything is seeded", BATCHES: "the data's length or order differs"})
"""What it means where the configs don't say so."""


class SameStart(StrEnum):
    """Whether all twins of two arms started alike."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    """Some run, such as an older one, doesn't say."""


@dataclass(frozen=True)
class Start:
    """Whether two arms' twins started alike, and the seeds of those that didn't by what was different."""

    same: SameStart
    others: Mapping[str, list[int]] = field(default_factory=dict)
    differs_in: tuple[str, ...] = ()
    """Keys of the config, those of clipping apart, in which the arms differ."""

    @classmethod
    def of(cls, base: Arm, arm: Arm) -> Start:
        """Of the twins of two arms with the same seeds."""
        twins = list(zip(base.runs, arm.runs, strict=True))
        alike = {fact: [_alike(fact, one, other) for one, other in twins] for fact in IN_WORDS}
        others = {
            fact: [run.seed for run, same in zip(arm.runs, found, strict=True) if same is False] for fact, found in alike.items()
        }
        if others := {fact: seeds for fact, seeds in others.items() if seeds}:
            return cls(SameStart.NO, others, tuple(key for key, *_ in other_differences(base, arm)))
        return cls(SameStart.YES if all(map(all, alike.values())) else SameStart.UNKNOWN)

    @property
    def seeds(self) -> list[int]:
        """The seeds of twins that did not start alike."""
        return sorted({seed for seeds in self.others.values() for seed in seeds})

    def notes(self, base: str, arm: str) -> list[str]:
        """A note for each thing that was different, with the names of both arms."""
        return [
            f"{arm} and {base} did not start alike: other {IN_WORDS[fact]} on {named_seeds(seeds)}, {self._why(fact)}."
            for fact, seeds in self.others.items()
        ]

    def _why(self, fact: str) -> str:
        said = [key for key in self.differs_in if key.startswith(SAID_BY[fact])]
        return f"as their configs say ({some_of(said)})" if said else f"though their configs don't say so: {UNSAID[fact]}"


def _alike(fact: str, one: StoredRun, other: StoredRun) -> bool | None:
    """Whether twins agree in a fact; None where either doesn't say."""
    ours, theirs = one.metadata.get(fact), other.metadata.get(fact)
    return None if ours is None or theirs is None else bool(ours == theirs)
