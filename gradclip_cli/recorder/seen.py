"""What is known of a loop when its recording begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gradclip_cli.config.recorded import RecordedEngine, RecordedLoss, RecordedModel, RecordedOptimizer, UnknownRule
from gradclip_cli.gradients.clipping_rule import ClippingRule


@dataclass(frozen=True)
class Seen:
    """What is known of a loop when it begins."""

    framework: str
    packages: tuple[str, ...]
    """The distributions whose versions are kept."""
    variables: tuple[str, ...]
    """Of all V variables that are trained, in the order of the records."""
    model: RecordedModel = field(default_factory=RecordedModel)
    loss: RecordedLoss = field(default_factory=RecordedLoss)
    optimizer: RecordedOptimizer = field(default_factory=RecordedOptimizer)
    clipping: ClippingRule = field(default_factory=UnknownRule)
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else `run.json` says, such as the hash of the initial weights."""

    @property
    def sections(self) -> dict[str, Any]:
        """Of the config, what was seen."""
        return {
            "engine": RecordedEngine(framework=self.framework),
            "model": self.model,
            "loss": self.loss,
            "optimizer": self.optimizer,
            "clipping": self.clipping,
        }
