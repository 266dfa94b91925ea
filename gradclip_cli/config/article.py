"""The article's section of the schema: its datasets as sequences, its recurrent network, its losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from gradclip_cli.config.dataset import Part, PublishedDataset
from gradclip_cli.config.datasets import DATASETS, DEFAULT_DATASET
from gradclip_cli.config.schema import CommonData, CommonLoss, CommonModel, Config
from gradclip_cli.sections import NotNegative, Positive, Section

MOST_UNITS = 4096
MOST_LAYERS = 100
MOST_BUFFERED = 1_000_000
MOST_SAMPLES = max(dataset.full.training for dataset in DATASETS.values())

Units = Annotated[int, Field(ge=1, le=MOST_UNITS)]

# A type checker can't know which files are there.
if TYPE_CHECKING:
    DatasetName = str
else:
    DatasetName = Literal[*DATASETS]


def _of_datasets(said: Callable[[PublishedDataset], object]) -> str:
    """What is said of a dataset, of all that there are; once where it is the same."""
    return ", or ".join(dict.fromkeys(str(said(dataset)) for dataset in DATASETS.values()))


def _pooled(pool: int) -> str:
    """The images that pooling leaves, in words."""
    return _of_datasets(lambda dataset: f"{dataset.side // pool}x{dataset.side // pool}")


class Data(CommonData):
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
    def label(self) -> str:
        return f"{self.published.title} ({self.subset})"

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


class Model(CommonModel):
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
    def label(self) -> str:
        return f"{self.cell}({self.units})"

    @property
    def layers(self) -> dict[str, int]:
        """Names of the recurrent layers with their units, from the input on: lstm, lstm_1 and so on."""
        units = [self.units] if isinstance(self.units, int) else self.units
        return {f"{self.cell}_{index}" if index else self.cell: count for index, count in enumerate(units)}

    @property
    def layer_names(self) -> list[str]:
        """Names of all layers with weights, from the input on."""
        return [*self.layers, "dense"]


class Loss(CommonLoss):
    """What is minimized."""

    name: Literal["crossentropy", "mse"] = Field(
        default="crossentropy", description="crossentropy on logits, or mse: squared error against one-hot targets."
    )
    target_scale: Positive = Field(default=1.0, description="Value of a one-hot target's one, for mse.")

    @property
    def label(self) -> str:
        return f"{self.name} x {self.target_scale:g}"

    @property
    def unit(self) -> str:
        return "cross-entropy (nats)" if self.name == "crossentropy" else "squared error"

    @model_validator(mode="after")
    def _scale_only_targets(self) -> Loss:
        if self.name == "crossentropy" and self.target_scale != 1:
            raise ValueError("target_scale belongs to mse; crossentropy has no targets to scale")
        return self


class ArticleConfig(Config):
    """Everything that determines a run of the article's kind."""

    data: Data = Data()
    model: Model = Model()
    loss: Loss = Loss()
