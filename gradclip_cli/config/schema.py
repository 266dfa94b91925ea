"""The schema as far as all problems share it: keys with defaults, units and meanings; the rest is in article and own."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from gradclip_cli.config.frameworks import DEFAULT_FRAMEWORK, FRAMEWORKS, owners
from gradclip_cli.config.optimizers import OPTIMIZER_SECTIONS, Optimizer
from gradclip_cli.gradients.clipping_rule import ClippingRule
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.gradients.rules.none import Unclipped
from gradclip_cli.limits import MOST_EPOCHS, MOST_SEED, MOST_STEPS
from gradclip_cli.sections import Section

ARM_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+=,-]*$"
LONGEST_NAME = 200

# A type checker can't know which files are there.
if TYPE_CHECKING:
    FrameworkName = str
else:
    FrameworkName = Literal[*FRAMEWORKS]


class Engine(Section):
    """Which framework trains, and how."""

    framework: FrameworkName = Field(
        default=DEFAULT_FRAMEWORK,
        description=f"Framework that trains: {', or '.join(framework.choice for framework in FRAMEWORKS.values())}.",
    )
    jit: Literal[True, False, "auto"] = Field(
        default=True,
        description=f"With {owners('jit')}: compile the training loop with XLA; false makes a graph of the same code, for "
        "recurrent networks much slower; auto takes XLA for recurrent networks and a graph for others.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description=f"With {owners('device')}: where it trains; auto takes a GPU where there is one.",
    )

    @model_validator(mode="after")
    def _belong_to_the_framework(self) -> Engine:
        framework = FRAMEWORKS.get(self.framework)  # none where a recorder names it
        if framework is None:
            return self
        for key, field in type(self).model_fields.items():
            if key not in ("framework", *framework.settings) and getattr(self, key) != field.default:
                instead = framework.instead.get(key, f"{self.framework} has nothing like it")
                raise ValueError(f"{key} belongs to {owners(key)}; {instead}")
        return self


class Training(Section):
    """How long, and from which seed."""

    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] = Field(
        default=10, description="Epochs; an evaluation and a row of metrics.csv follow each."
    )
    steps_per_epoch: Annotated[int, Field(ge=1, le=MOST_STEPS)] = Field(
        default=500, description=f"Optimizer updates in an epoch; in all epochs together at most {MOST_STEPS:,}."
    )
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)] = Field(
        default=0,
        description="Seed of initial weights and batches; arms with the same seed start alike and see the same batches.",
    )

    @model_validator(mode="after")
    def _end_some_day(self) -> Training:
        if self.epochs * self.steps_per_epoch > MOST_STEPS:
            raise ValueError(f"epochs times steps_per_epoch must be at most {MOST_STEPS:,}: each is a row of steps.csv")
        return self


# The types are made from a table, or found in a folder; a type checker sees what is common to them.
if TYPE_CHECKING:
    AnyOptimizer = Optimizer
    AnyClippingRule = ClippingRule
else:
    AnyOptimizer = Annotated[functools.reduce(operator.or_, OPTIMIZER_SECTIONS.values()), Field(discriminator="name")]
    AnyClippingRule = Annotated[functools.reduce(operator.or_, RULES.values()), Field(discriminator="mode")]

KINDS: Mapping[str, Mapping[str, type[Section]]] = {"optimizer": OPTIMIZER_SECTIONS, "clipping": RULES}
"""The sections of which there are several kinds, by what selects one."""
CHOSEN_BY = {"optimizer": "name", "clipping": "mode"}
"""The key that selects it."""


class CommonData(Section):
    """What all kinds of data have, in the order that each kind gives its keys."""

    if TYPE_CHECKING:
        batch_size: int
        shuffle_buffer: int | None
        """None: all samples."""
        holdout: int

    @property
    def label(self) -> str:
        """The data in short."""
        raise NotImplementedError


class CommonModel(Section):
    """What all kinds of models have, in the order that each kind gives its keys."""

    if TYPE_CHECKING:
        perturbation: float

    @property
    def label(self) -> str:
        """The model in short."""
        raise NotImplementedError

    @property
    def same_for_all_seeds(self) -> bool:
        """Whether all seeds begin with the same weights."""
        return False

    @property
    def layer_names(self) -> list[str] | None:
        """Names of all layers with weights, from the input on; None where only the built model tells."""
        return None


class CommonLoss(Section):
    """What all losses have."""

    @property
    def label(self) -> str:
        """The loss in short."""
        raise NotImplementedError

    @property
    def unit(self) -> str:
        """What it is measured in."""
        raise NotImplementedError


class Config(Section):
    """Everything that determines a run, as far as all problems share it."""

    name: Annotated[str, Field(pattern=ARM_NAME, max_length=LONGEST_NAME)] = Field(
        description="The arm's name, and its folder under results; the file's own name unless given."
    )
    engine: Engine = Engine()
    data: CommonData
    model: CommonModel
    loss: CommonLoss
    optimizer: AnyOptimizer = OPTIMIZER_SECTIONS["sgd"](name="sgd")
    clipping: AnyClippingRule = Unclipped()
    training: Training = Training()

    @property
    def threshold(self) -> float | None:
        """The clipping threshold; None where nothing is clipped or the rule finds its own."""
        return self.clipping.threshold_of_all

    def thresholds(self, variables: Sequence[str]) -> list[float]:
        """The threshold of each variable, such as `lstm/kernel`; infinite where it has none."""
        layers = self.clipping.layer_thresholds
        given = [layers.get(variable.split("/")[0], self.threshold) for variable in variables]
        return [math.inf if threshold is None else threshold for threshold in given]

    @property
    def recorded_every(self) -> int:
        """Of how many steps one is recorded."""
        return 1

    @property
    def planned(self) -> Config:
        """What was known before it was trained: all, unless only a recorder could see it."""
        return self

    def trained_for(self, epochs: int, steps: int) -> Config:
        """The same config, of a run that took so many: the length that it says, unless only the run could tell."""
        return self

    def with_seed(self, seed: int) -> Config:
        """The same config with another seed."""
        return self.model_copy(update={"training": self.training.model_copy(update={"seed": seed})})
