"""What a clipping rule is: a section of a config that knows its formula, what it bounds, and how its threshold is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from gradclip_cli.gradients.lengths import Gradients
from gradclip_cli.gradients.scopes import Scope
from gradclip_cli.sections import Positive, Section

if TYPE_CHECKING:
    from gradclip_cli.arrays import Array, BoolArray, FloatArray
    from gradclip_cli.gradients.unclipped_steps import UnclippedSteps

LayerThresholds = dict[str, Positive | None]
LAYERS = "Thresholds of single layers, such as {dense: 5.0}, in place of `threshold`; null leaves a layer unclipped."
"""What a config's key `layers` is, in every rule that takes it."""


class Situation(NamedTuple):
    """What a rule may look at on one step, for V variables."""

    gradients: Gradients
    """(V,) arrays of any shapes."""
    thresholds: Sequence[float] = ()
    """(V,) bound of each variable, infinite where it has none."""
    weights: Gradients = ()
    """(V,) the variables' values before the update."""
    memory: Mapping[str, Any] = MappingProxyType({})
    """What the rule kept from earlier steps."""


class Clipped(NamedTuple):
    """What a rule makes of a step."""

    gradients: list[Any]
    excess: Any = None
    """How many times its bound the gradient was, where only the rule knows."""
    memory: Mapping[str, Any] = MappingProxyType({})
    """What it keeps for later steps."""
    skip: Any = None
    """Whether the step is left out, of a rule that `skips`: its gradients are zero then, and its excess is above 1."""


class InWords(NamedTuple):
    """What a rule does, as a table tells it: t is the threshold, g a gradient; {part} stands for what its scope calls one."""

    bound: str
    formula: str
    infinite: str
    """What becomes of an infinite element."""
    nan: str
    """What becomes of an element that is NaN."""


class Choice(NamedTuple):
    """Settings of a rule that are worth a try, and why."""

    settings: Mapping[str, float]
    reason: str


class ClippingRule(Section):
    """Base of the clipping rules: `mode` selects one, its fields are what a config says of it.

    A rule is written over an array namespace (`numpy`, `keras.ops`, `torch`), so that the same lines are formula, reference
    and check.
    """

    mode: str

    place: ClassVar[int] = 100
    """Where it stands among the others in tables and in the schema; in one place, by name."""
    scope: ClassVar[Scope]
    in_words: ClassVar[InWords]
    keras_argument: ClassVar[str | None] = None
    """The argument of Keras's optimizers that clips by this rule."""
    pytorch_function: ClassVar[str | None] = None
    """The function of `torch.nn.utils` that does, called once for each variable where that is the scope, else once for all."""
    skips: ClassVar[bool] = False
    """Whether it may leave out a step: the optimizer is not called then, so that its slots and counts and the weights stay."""
    label_keys: ClassVar[frozenset[str]] = frozenset({"mode", "threshold", "layers"})
    """What `label` tells, if a config says it."""

    def apply(self, now: Situation, xp: Any) -> Clipped:
        """Clip the gradients of one step, in an array namespace."""
        raise NotImplementedError

    def memory(self, variables: int) -> dict[str, Array]:
        """What the rule remembers of so many variables before the first step."""
        return {}

    def acts(self, steps: UnclippedSteps) -> BoolArray:
        """(S,) whether it would have acted on each of these steps, had it not acted before.

        A rule that is not `measured` says so itself, if it makes a choice at all.
        """
        assert self.threshold_of_all is not None
        return steps.excess(self.scope, self.threshold_of_all) > 1

    def left(self, steps: UnclippedSteps, thresholds: Sequence[float]) -> FloatArray | None:
        """(S,) joint norm of what it would have left of each of these steps' gradients; None where the norms don't tell.

        `thresholds` are those of the V variables.
        """
        from gradclip_cli.gradients.excess import shortened_norm  # which brings NumPy: a config is read without it

        return shortened_norm(self.scope, steps.norm, thresholds) if self.measured else None

    @classmethod
    def choice(cls, steps: UnclippedSteps) -> Choice | None:
        """What to try where gradients were as on these steps; None where they don't tell."""
        return None

    @property
    def measured(self) -> bool:
        """Whether what it bounds can be read off the recorded norms and elements; else the rule alone knows its excess."""
        return self.threshold_of_all is not None and self.scope.measure is not None

    @property
    def threshold_of_all(self) -> float | None:
        """The threshold; None where nothing is clipped or the rule finds its own."""
        return getattr(self, "threshold", None)

    @property
    def layer_thresholds(self) -> LayerThresholds:
        """Thresholds of single layers, where the rule takes them."""
        return getattr(self, "layers", {})

    @property
    def bounds(self) -> dict[str, float]:
        """What its thresholds bound, with their values; nothing where a recorded norm or element can't be held against them."""
        if self.threshold_of_all is None or not self.measured:
            return {}
        layers = {f"{self.scope.name} of {name}": value for name, value in self.layer_thresholds.items() if value is not None}
        return {self.scope.name: self.threshold_of_all, **layers}

    @property
    def label(self) -> str:
        """The rule in short, such as `clipnorm 1 (dense 5)` or `autoclip 10%`."""
        layers = ", ".join(f"{name} {_short(value)}" for name, value in self.layer_thresholds.items())
        amount = "" if self.threshold_of_all is None else f" {self.threshold_of_all:g}"
        return f"{self.mode}{amount}{f' ({layers})' if layers else ''}"

    @property
    def full_label(self) -> str:
        """The label, with the settings that are not as usual: `clipnorm 1`, `autoclip 10% (window 50)`."""
        usual = {name: field.default for name, field in type(self).model_fields.items() if name not in self.label_keys}
        unusual = [f"{name} {getattr(self, name):g}" for name, value in usual.items() if getattr(self, name) != value]
        return f"{self.label} ({', '.join(unusual)})" if unusual else self.label


def _short(threshold: float | None) -> str:
    return "unclipped" if threshold is None else f"{threshold:g}"
