"""The schema of a problem of the user's own: his data, his model, its loss and metrics, by file and function or by file."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from gradclip_cli.config.optimizers import OPTIMIZER_SECTIONS, CompiledOptimizer, Optimizer
from gradclip_cli.config.schema import CommonData, CommonLoss, CommonModel, Config, Engine
from gradclip_cli.sections import NotNegative, Section

COMPILED = "compiled"
"""Stands for what a Keras model was compiled with."""
MOST_IN_A_BATCH = 1_000_000
MOST_EVERY = 250
"""The most steps of which one is recorded: an engine takes so many at a time."""
IN_NATS = {"sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"}
"""Losses that are measured in nats."""

if TYPE_CHECKING:
    AnyOptimizer = Optimizer
else:
    AnyOptimizer = Annotated[
        functools.reduce(operator.or_, [CompiledOptimizer, *OPTIMIZER_SECTIONS.values()]), Field(discriminator="name")
    ]


class OwnEngine(Engine):
    """Which framework trains, and how."""

    jit: Literal[True, False, "auto"] = Field(default="auto", description=Engine.model_fields["jit"].description)


def _require_one(section: Section, *keys: str) -> None:
    """Raises ValueError unless exactly one of these keys is given."""
    given = [key for key in keys if getattr(section, key) is not None]
    if len(given) != 1:
        raise ValueError(f"give one of {' and '.join(keys)}{f', not {len(given)}' if given else ''}")


class OwnData(CommonData):
    """What is trained and evaluated on. Paths are relative to the file that says them."""

    npz: str | None = Field(
        default=None,
        description="An .npz file with x_train, y_train, x_test and y_test; of several inputs x_train/NAME and so on.",
    )
    factory: str | None = Field(
        default=None,
        description="FILE.py:function or package.module:function, which returns ((x_train, y_train), (x_test, y_test)), "
        "a finite tf.data.Dataset or a torch Dataset. It is code, and is run.",
    )
    args: dict[str, Any] = Field(default={}, description="What the factory is called with, by name.")
    batch_size: Annotated[int, Field(ge=1, le=MOST_IN_A_BATCH)] = Field(
        default=32, description="Samples in a batch, one batch a step."
    )
    shuffle_buffer: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Samples that the shuffle draws from; null for all of them, 1 keeps their order."
    )
    holdout: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Training samples at the end kept for evaluation in place of the test split; 0 keeps none."
    )
    source_sha256: str | None = Field(default=None, description="Of the factory's code; gradclip fills it in.")

    @property
    def label(self) -> str:
        return str(self.npz or self.factory)

    @model_validator(mode="after")
    def _come_from_one_place(self) -> OwnData:
        _require_one(self, "npz", "factory")
        if self.args and not self.factory:
            raise ValueError("args are a factory's; an npz file takes none")
        return self


class OwnModel(CommonModel):
    """The network. Paths are relative to the file that says them."""

    factory: str | None = Field(
        default=None,
        description="FILE.py:function or package.module:function, which returns a keras.Model (compiled or not), or a "
        "torch.nn.Module. It is code, and is run.",
    )
    args: dict[str, Any] = Field(default={}, description="What the factory is called with, by name.")
    file: str | None = Field(default=None, description="A saved .keras model. It is code too.")
    initial: Literal["fresh", "saved"] = Field(
        default="fresh", description="With file: fresh initial weights for each seed, or for all seeds those that were saved."
    )
    perturbation: NotNegative = Field(
        default=0.0, description="Initial weights are scaled by one plus this; 1e-6 shows how far rounding alone carries a run."
    )
    source_sha256: str | None = Field(default=None, description="Of the factory's code, or of the file; gradclip fills it in.")

    @property
    def label(self) -> str:
        arguments = ", ".join(f"{name}={value}" for name, value in self.args.items())
        saved = " with its saved weights" if self.same_for_all_seeds else ""
        return f"{self.file or self.factory}{f'({arguments})' if arguments else ''}{saved}"

    @property
    def same_for_all_seeds(self) -> bool:
        return self.initial == "saved"

    @model_validator(mode="after")
    def _come_from_one_place(self) -> OwnModel:
        _require_one(self, "factory", "file")
        if self.args and not self.factory:
            raise ValueError("args are a factory's; a file takes none")
        if self.initial == "saved" and not self.file:
            raise ValueError("initial: saved needs a file with saved weights; a factory's are fresh")
        return self


class OwnLoss(CommonLoss):
    """What is minimized; further keys are the loss's own arguments, such as from_logits or label_smoothing."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(default=COMPILED, description="A loss by its Keras name, or compiled: what the model was compiled with.")
    factory: str | None = Field(
        default=None, description="FILE.py:function, a loss of one's own: function(targets, outputs). It is code, and is run."
    )
    source_sha256: str | None = Field(default=None, description="Of the factory's code; gradclip fills it in.")

    @model_validator(mode="before")
    @classmethod
    def _written_short(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"factory": given} if ":" in given else {"name": given}
        return given

    @property
    def label(self) -> str:
        return self.factory or self.name

    @property
    def unit(self) -> str:
        if self.factory or self.name == COMPILED:
            return "loss"
        return "cross-entropy (nats)" if self.name in IN_NATS else self.name.replace("_", " ")

    @property
    def arguments(self) -> dict[str, Any]:
        """The loss's own arguments."""
        return dict(self.model_extra or {})


class Records(Section):
    """What is recorded of the steps."""

    every: Annotated[int, Field(ge=1, le=MOST_EVERY)] = Field(
        default=1,
        description="Of how many steps one is measured and stands in steps.csv; it divides steps_per_epoch. Large layers train "
        "faster with more, and the same.",
    )


class OwnConfig(Config):
    """Everything that determines a run of a problem of the user's own."""

    engine: OwnEngine = OwnEngine()
    data: OwnData
    model: OwnModel
    loss: OwnLoss = OwnLoss()
    metrics: list[str] | None = Field(
        default=None,
        description="Metrics by their Keras names, or FILE.py:function each; null for those that the model was compiled with, "
        "else accuracy where targets are classes.",
    )
    optimizer: AnyOptimizer = CompiledOptimizer()
    records: Records = Records()
    folder: str = Field(default="", exclude=True, description="Where relative paths begin; no part of what is trained.")

    @property
    def recorded_every(self) -> int:
        return self.records.every


OWN_SECTIONS: Mapping[str, type[Section]] = {"data": OwnData, "model": OwnModel, "loss": OwnLoss}
"""The sections in which such a config differs from the article's."""
