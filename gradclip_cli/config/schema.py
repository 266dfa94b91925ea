"""The schema: every key that a config may have, where a new option begins: defaults (the article's), units, meanings,
and nothing else.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from gradclip_cli.config.dataset import Part, PublishedDataset
from gradclip_cli.config.datasets import DATASETS, DEFAULT_DATASET
from gradclip_cli.config.frameworks import DEFAULT_FRAMEWORK, FRAMEWORKS, owners
from gradclip_cli.config.optimizers import OPTIMIZER_SECTIONS, Optimizer
from gradclip_cli.gradients.clipping_rule import ClippingRule
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.gradients.rules.none import Unclipped
from gradclip_cli.sections import MOST_STEPS, NotNegative, Positive, Section

ARM_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+=,-]*$"
LONGEST_NAME = 200

# The most of everything: far beyond any use, and small enough that counts times sizes stay within memory and 64 bits.
MOST_SEED = 2**32 - 1
"""The largest seed: what NumPy, Keras and PyTorch all take, and every reader of JSON and of tables reads exactly."""
MOST_EPOCHS = 1_000_000
MOST_UNITS = 4096
MOST_LAYERS = 100
MOST_BUFFERED = 1_000_000
MOST_SAMPLES = max(dataset.full.training for dataset in DATASETS.values())


Units = Annotated[int, Field(ge=1, le=MOST_UNITS)]


# A type checker can't know which files are there.
if TYPE_CHECKING:
    DatasetName = str
    FrameworkName = str
else:
    DatasetName = Literal[*DATASETS]
    FrameworkName = Literal[*FRAMEWORKS]


class Engine(Section):
    """Which framework trains, and how."""

    framework: FrameworkName = Field(
        default=DEFAULT_FRAMEWORK,
        description=f"Framework that trains: {', or '.join(framework.choice for framework in FRAMEWORKS.values())}.",
    )
    jit: bool = Field(
        default=True,
        description=f"With {owners('jit')}: compile the training loop with XLA; "
        "false runs the same code uncompiled, much slower.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description=f"With {owners('device')}: where it trains; auto takes a GPU where there is one.",
    )

    @model_validator(mode="after")
    def _belong_to_the_framework(self) -> Engine:
        framework = FRAMEWORKS[self.framework]
        for key, field in type(self).model_fields.items():
            if key not in ("framework", *framework.settings) and getattr(self, key) != field.default:
                instead = framework.instead.get(key, f"{self.framework} has nothing like it")
                raise ValueError(f"{key} belongs to {owners(key)}; {instead}")
        return self


def _of_datasets(said: Callable[[PublishedDataset], object]) -> str:
    """What is said of a dataset, of all that there are; once where it is the same."""
    return ", or ".join(dict.fromkeys(str(said(dataset)) for dataset in DATASETS.values()))


def _pooled(pool: int) -> str:
    """The images that pooling leaves, in words."""
    return _of_datasets(lambda dataset: f"{dataset.side // pool}x{dataset.side // pool}")


class Data(Section):
    """What is trained and evaluated on."""

    dataset: DatasetName = Field(
        default=DEFAULT_DATASET, description=f"Dataset: {_of_datasets(lambda dataset: dataset.content)}."
    )
    sequence: Literal["rows", "pixels"] = Field(
        default="rows",
        description="How an image becomes a sequence: "
        f"rows ({_of_datasets(lambda dataset: f'{dataset.side} time steps of {dataset.side} pixels')}), "
        f"or pixels ({_of_datasets(lambda dataset: dataset.side**2)} of one).",
    )
    pool: Literal[1, 2, 4] = Field(
        default=1,
        description=f"Side of the squares of pixels that are averaged: 2 gives {_pooled(2)} images, 4 gives {_pooled(4)}.",
    )
    scale: Positive = Field(default=255.0, description="Pixels (0 to 255) are divided by this.")
    batch_size: Annotated[int, Field(ge=1, le=MOST_SAMPLES)] = Field(
        default=32, description="Samples in a batch, one batch a step."
    )
    shuffle_buffer: Annotated[int, Field(ge=1, le=MOST_BUFFERED)] = Field(
        default=5000, description="Samples that the shuffle draws from; 1 keeps the dataset's order."
    )
    holdout: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Training images at the end kept for evaluation in place of the test set; 0 evaluates on the test set.",
    )
    subset: Literal["full", "sample"] = Field(
        default="full",
        description=" ".join(
            f"{'' if name == DEFAULT_DATASET else f'With {name}, '}{dataset.sizes}." for name, dataset in DATASETS.items()
        ),
    )

    @model_validator(mode="after")
    def _fit_the_dataset(self) -> Data:
        whole = self.published.full.training
        if self.subset not in self.published.parts:
            raise ValueError(f"{self.dataset} has no sample; it is trained on with subset full")
        if self.published.side % self.pool:
            raise ValueError(f"pool must divide the side of {self.dataset}'s images, {self.published.side}")
        if self.batch_size > whole:
            raise ValueError(f"batch_size must be at most {whole}, the training images of {self.dataset}")
        if self.holdout >= self.part.training:
            raise ValueError(f"holdout must leave training images: below {self.part.training} for subset {self.subset}")
        return self

    @property
    def published(self) -> PublishedDataset:
        """What the dataset is known by."""
        return DATASETS[self.dataset]

    @property
    def part(self) -> Part:
        """What is read of it."""
        return self.published.parts[self.subset]

    @property
    def sequence_shape(self) -> tuple[int, int]:
        """Time steps and features a time step."""
        side = self.published.side // self.pool
        return (side, side) if self.sequence == "rows" else (side * side, 1)


class Regularizer(Section):
    """Weight penalties."""

    l1: NotNegative = Field(default=0.0, description="Weight of the sum of absolute kernel and recurrent-kernel elements.")
    l2: NotNegative = Field(default=0.0, description="Weight of the sum of squared kernel and recurrent-kernel elements.")


class Model(Section):
    """The network: recurrent layers and a dense output layer."""

    cell: Literal["lstm", "gru", "simple_rnn"] = Field(
        default="lstm",
        description=f"Recurrent layers, before the output layer of {_of_datasets(lambda dataset: dataset.classes)} classes.",
    )
    units: Annotated[
        Annotated[Units, Tag("one")] | Annotated[list[Units], Field(min_length=1, max_length=MOST_LAYERS), Tag("stack")],
        Discriminator(lambda units: "stack" if isinstance(units, list) else "one"),
    ] = Field(default=10, description="Units of the recurrent layer; a list, such as [32, 16], stacks layers.")
    activation: Literal["tanh", "relu", "sigmoid", "linear"] = Field(
        default="tanh", description="Activation of the recurrent layers' candidate or state."
    )
    recurrent_gain: Positive = Field(
        default=1.0, description="Factor on the initial orthogonal recurrent kernels; above 1 makes gradients grow through time."
    )
    forget_bias: float = Field(default=1.0, description="Initial bias of an lstm's forget gates; lower forgets faster.")
    perturbation: NotNegative = Field(
        default=0.0, description="Initial weights are scaled by one plus this; 1e-6 shows how far rounding alone carries a run."
    )
    regularizer: Regularizer = Field(
        default=Regularizer(), description="Penalty on all kernels, added to the loss that is trained on and reported apart."
    )

    @model_validator(mode="after")
    def _bias_only_forget_gates(self) -> Model:
        if self.cell != "lstm" and self.forget_bias != 1:
            raise ValueError(f"forget_bias belongs to lstm; a {self.cell} has no forget gate")
        return self

    @property
    def layers(self) -> dict[str, int]:
        """Names of the recurrent layers with their units, from the input on: lstm, lstm_1 and so on."""
        units = [self.units] if isinstance(self.units, int) else self.units
        return {f"{self.cell}_{index}" if index else self.cell: count for index, count in enumerate(units)}

    @property
    def layer_names(self) -> list[str]:
        """Names of all layers with weights, from the input on."""
        return [*self.layers, "dense"]


class Loss(Section):
    """What is minimized."""

    name: Literal["crossentropy", "mse"] = Field(
        default="crossentropy", description="crossentropy on logits, or mse: squared error against one-hot targets."
    )
    target_scale: Positive = Field(default=1.0, description="Value of a one-hot target's one, for mse.")

    @model_validator(mode="after")
    def _scale_only_targets(self) -> Loss:
        if self.name == "crossentropy" and self.target_scale != 1:
            raise ValueError("target_scale belongs to mse; crossentropy has no targets to scale")
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


class Config(Section):
    """Everything that determines a run."""

    name: Annotated[str, Field(pattern=ARM_NAME, max_length=LONGEST_NAME)] = Field(
        description="The arm's name, and its folder under results; the file's own name unless given."
    )
    engine: Engine = Engine()
    data: Data = Data()
    model: Model = Model()
    loss: Loss = Loss()
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

    def with_seed(self, seed: int) -> Config:
        """The same config with another seed."""
        return self.model_copy(update={"training": self.training.model_copy(update={"seed": seed})})
