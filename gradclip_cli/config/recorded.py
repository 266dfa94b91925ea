"""The schema of a run that somebody else's loop trained: what is known of it, and the command that trains it, if there is one."""

from __future__ import annotations

import json
import math
import shlex
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from gradclip_cli.config.commands import SEED, filled
from gradclip_cli.config.optimizers import Optimizer
from gradclip_cli.config.own import IN_NATS
from gradclip_cli.config.schema import AnyClippingRule, CommonData, CommonLoss, CommonModel, Config, Engine, Training
from gradclip_cli.config.yaml_tree import shortened
from gradclip_cli.errors import ConfigError
from gradclip_cli.gradients.clipping_rule import Clipped, ClippingRule, InWords, Situation
from gradclip_cli.gradients.scopes import NOTHING
from gradclip_cli.limits import MOST_STEPS
from gradclip_cli.sections import Positive

RECORDED: Literal["recorded"] = "recorded"
"""The `kind` of such configs."""
PYTHON = "python"
"""As the first word of a command: the interpreter that runs gradclip."""
UNKNOWN: Literal["unknown"] = "unknown"


def _one_word(value: Any) -> Any:
    """Raises ValueError for what no word of a command can be made of."""
    if isinstance(value, list | dict):
        raise ValueError("a placeholder stands for one text, number, true, false or null; give each its own")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError('not a finite number; write the text that the script is to get, such as "inf"')
    return value


Value = Annotated[str | int | float | bool | None, BeforeValidator(_one_word)]
"""What a placeholder of a command stands for."""


class RecordedEngine(Engine):
    """What trained."""

    framework: str = Field(default=UNKNOWN, description="The framework whose optimizer was watched.")
    jit: Literal[True] = Field(default=True, exclude=True, repr=False)
    device: Literal["auto"] = Field(default="auto", exclude=True, repr=False)


class RecordedData(CommonData):
    """The data, of which nothing is known."""

    holdout: int = Field(default=0, exclude=True, repr=False)

    @property
    def label(self) -> str:
        return "its own data"


class RecordedModel(CommonModel):
    """The network, as far as it says what it is."""

    name: str | None = Field(default=None, description="Its class, or its own name.")
    parameters: int | None = Field(default=None, ge=0, description="Trainable parameters.")
    perturbation: float = Field(default=0.0, exclude=True, repr=False)

    @property
    def label(self) -> str:
        size = "" if self.parameters is None else f" of {self.parameters:,} parameters"
        return f"{self.name or 'a model'}{size}"


class RecordedLoss(CommonLoss):
    """What was minimized, where the loop says it."""

    name: str | None = Field(default=None, description="The loss, by its Keras name or its class.")

    @property
    def label(self) -> str:
        return self.name or "its own loss"

    @property
    def unit(self) -> str:
        if self.name in IN_NATS:
            return "cross-entropy (nats)"
        return self.name.replace("_", " ") if self.name else "loss"


class RecordedOptimizer(Optimizer):
    """The optimizer, as it says what it is."""

    name: str = Field(default=UNKNOWN, description="Its class.")
    learning_rate: Positive | None = Field(  # type: ignore[assignment]  # a schedule has none
        default=None, description="Step size at the beginning; null where that isn't known."
    )
    settings: dict[str, Any] = Field(default={}, description="Its other settings, by its own names.")

    @property
    def label(self) -> str:
        if self.name == UNKNOWN:
            return "an unknown optimizer"
        return self.name if self.learning_rate is None else f"{self.name} {self.learning_rate:g}"

    def parameters(self) -> dict[str, Any]:
        return self.settings


class UnknownRule(ClippingRule):
    """Clipping that the loop did itself: only what it left is known."""

    mode: Literal["unknown"] = Field(default=UNKNOWN, description="The loop clips, or does not: what it left is recorded.")

    scope = NOTHING
    in_words = InWords(bound="-", formula="-", infinite="-", nan="-")

    def apply(self, now: Situation, xp: Any) -> Clipped:
        raise NotImplementedError("only what it left of recorded gradients is known")

    @property
    def label(self) -> str:
        return "as the loop itself does it"


class RecordedTraining(Training):
    """The seed that the caller named; how long it was trained, its `run.json` says."""

    epochs: Annotated[int, Field(ge=1, le=MOST_STEPS)] = Field(default=1, exclude=True, repr=False)
    steps_per_epoch: Annotated[int, Field(ge=1, le=MOST_STEPS)] = Field(default=1, exclude=True, repr=False)


if TYPE_CHECKING:
    AnyKnownRule = ClippingRule
else:
    AnyKnownRule = Annotated[UnknownRule | AnyClippingRule, Field(discriminator="mode")]


def _words(command: Any) -> Any:
    """A command as it is; raises ValueError where it is one text."""
    if isinstance(command, str):
        try:
            words = shlex.split(command)
        except ValueError:  # a quotation mark without its other
            words = command.split()
        words += [] if any(f"{{{SEED}}}" in word for word in words) else ["--seed", f"{{{SEED}}}"]
        raise ValueError(f"write a list of words: {shortened(json.dumps(words))}")
    return command


class RecordedConfig(Config):
    """What is known of a run that gradclip watched, and the command that trains it, where gradclip starts it."""

    kind: Literal["recorded"] = Field(default=RECORDED, description="A run that somebody else's loop trains.")
    command: Annotated[list[str] | None, BeforeValidator(_words)] = Field(
        default=None,
        min_length=1,
        description="What trains, as a list of words. {seed} stands for the run's seed, {NAME} for one of `values`, {{ and }} "
        "for braces; `python` as the first word is the interpreter that runs gradclip.",
    )
    values: dict[str, Value] = Field(default={}, description="What the placeholders of `command` stand for.")
    sources: dict[str, str] = Field(default={}, description="SHA-256 of the command's own files; gradclip fills it in.")
    engine: RecordedEngine = RecordedEngine()
    data: RecordedData = RecordedData()  # type: ignore[call-arg]  # nothing is known of what other data say
    model: RecordedModel = RecordedModel()
    loss: RecordedLoss = RecordedLoss()
    optimizer: RecordedOptimizer = RecordedOptimizer()
    clipping: AnyKnownRule = UnknownRule()
    training: RecordedTraining = RecordedTraining()
    folder: str = Field(default="", exclude=True, description="Where the command is started; no part of what is trained.")

    @property
    def words(self) -> list[str]:
        """The command as it is started: with the seed and the values in its placeholders."""
        given = {**self.values, SEED: self.training.seed}
        return [filled(word, given) for word in self.command or ()]

    @property
    def planned(self) -> RecordedConfig:
        """What was known before it was trained: with the command, without what was seen of the loop."""
        usual = {key: RecordedConfig.model_fields[key].default for key in SEEN}
        return self.model_copy(update=usual)

    def trained_for(self, epochs: int, steps: int) -> RecordedConfig:
        length = {"epochs": max(1, epochs), "steps_per_epoch": max(1, math.ceil(steps / max(1, epochs)))}
        return self.model_copy(update={"training": self.training.model_copy(update=length)})


SEEN = ("engine", "data", "model", "loss", "optimizer", "clipping")
"""What a recorder says of a loop that it watches."""


def require_no_script(config: Config, instead: str) -> None:
    """Raises ConfigError where a script trains a config, with what to do `instead` of what takes steps of gradclip's own."""
    if isinstance(config, RecordedConfig):
        raise ConfigError([f"{config.name}: its script trains it, of which gradclip can take no step. {instead}"])
