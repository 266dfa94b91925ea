"""What all engines share: a clipping rule set up for a network's variables, and how the parts of a state are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradclip_cli.arrays import Array, Weights
from gradclip_cli.config.schema import Config
from gradclip_cli.errors import ConfigError
from gradclip_cli.gradients.clipping_rule import Clipped, ClippingRule, Situation
from gradclip_cli.gradients.excess import measured_excess
from gradclip_cli.gradients.step_records import StepRecords


def slot_key(slot: object) -> str:
    """The name of one of an optimizer's slots in a state."""
    return f"optimizer/{slot}"


def state_key(name: str) -> str:
    """The name of a variable of the network that is not trained, in a state."""
    return f"network/{name}"


def metric_key(index: int) -> str:
    """The name of one of the metrics' sums, in a state."""
    return f"metrics/{index}"


def generator_key(name: str) -> str:
    """The name of one of the random generators that a run draws from, in a state."""
    return f"generators/{name}"


def memory_key(key: str) -> str:
    """The name of one thing that the clipping rule remembers, in a state."""
    return f"clipping/{key}"


class OfNetwork:
    """What an engine says of its problem is what the problem's network says, whatever the framework."""

    _network: Any

    @property
    def metrics(self) -> Mapping[str, bool]:
        metrics: Mapping[str, bool] = self._network.metrics
        return metrics

    @property
    def chance(self) -> Mapping[str, float]:
        chance: Mapping[str, float] = self._network.chance
        return chance

    @property
    def counts_correct(self) -> bool:
        return bool(self._network.counts_correct)

    @property
    def remarks(self) -> tuple[str, ...]:
        return tuple(self._network.remarks)

    def initial_weights(self, config: Config) -> Weights:
        weights: Weights = self._network.initial_weights(config)
        return weights


@dataclass(frozen=True)
class ChosenRule:
    """A config's clipping rule for V variables."""

    rule: ClippingRule
    thresholds: Sequence[float]
    """(V,) infinite where a variable has none."""

    @classmethod
    def of(cls, config: Config, variables: Sequence[str]) -> ChosenRule:
        """The rule that a config chooses. Raises ConfigError where it has a threshold for a layer that there isn't."""
        layers = list(dict.fromkeys(variable.split("/")[0] for variable in variables))
        if unknown := [layer for layer in config.clipping.layer_thresholds if layer not in layers]:
            raise ConfigError([f"clipping.layers: no layer {unknown[0]} has weights; there are {', '.join(layers)}"])
        return cls(config.clipping, config.thresholds(variables))

    def memory(self) -> dict[str, Array]:
        """What it remembers before the first step."""
        return self.rule.memory(len(self.thresholds))

    def clip(self, gradients: Sequence[Any], weights: Sequence[Any], memory: Mapping[str, Any], operations: Any) -> Clipped:
        """Clip a step's gradients, of any framework, with its operations."""
        return self.rule.apply(Situation(gradients, self.thresholds, weights, memory), operations)

    def with_excess(self, records: StepRecords) -> StepRecords:
        """The records with how far the gradients were beyond their bound, where the recorded norms tell it."""
        if not self.rule.measured:
            return records
        excess = measured_excess(self.rule.scope, records.norm, records.max_abs, self.thresholds)
        return replace(records, excess=excess)
