"""Losses of a user's own PyTorch module: by Keras's names, each as its counterpart in `torch.nn.functional`, or his function.

Where Keras and PyTorch differ in how they call one, Keras's way counts: targets come first, classes stand along the last axis,
and probabilities are taken where logits are not said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gradclip_cli.config.own import COMPILED, OwnConfig, OwnLoss
from gradclip_cli.errors import ConfigError, OwnCodeError
from gradclip_cli.problems.own.calls import described, own_code_runs, returned
from gradclip_cli.problems.own.models import own_function
from gradclip_cli.texts import snake_case

Measure = Callable[[Any, Any], Tensor]
"""A mean over samples, (), from targets and outputs."""

EPSILON = 1e-7
"""Probabilities are kept so far from 0 and 1, as in Keras."""
SUMS_TO_ONE = 1e-3


@dataclass(frozen=True)
class ChosenLoss:
    """What is minimized, and what was assumed of it."""

    measure: Measure
    name: str = ""
    """The name of Keras's function; empty for a function of the user's own."""
    label: str = ""
    from_logits: bool = False
    plain: bool = True
    """Whether the name alone says what it is: without smoothing, and without classes that are left out."""
    remarks: tuple[str, ...] = ()


def aligned(targets: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the same shape and type, where they are but for a last axis of 1. Raises ValueError where they are not."""
    if outputs.ndim == targets.ndim + 1 and outputs.shape[-1] == 1:
        outputs = outputs.squeeze(-1)
    elif targets.ndim == outputs.ndim + 1 and targets.shape[-1] == 1:
        targets = targets.squeeze(-1)
    if targets.shape != outputs.shape:
        raise ValueError("it needs targets of the outputs' shape")
    return targets.to(outputs.dtype), outputs


def by_class(targets: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Labels (N,) and outputs (N, C) from any number of axes between. Classes are along the last axis of the outputs, or along
    the second, as PyTorch's losses have them, where only that fits. Raises ValueError where neither does.
    """
    if targets.ndim == outputs.ndim and targets.shape[-1] == 1:
        targets = targets.squeeze(-1)
    if targets.shape != outputs.shape[:-1]:
        if outputs.ndim < 3 or targets.shape != (len(outputs), *outputs.shape[2:]):
            raise ValueError("it needs targets that are one integer class each, and an output for each class")
        outputs = outputs.movedim(1, -1)
    return targets.reshape(-1).long(), outputs.reshape(-1, outputs.shape[-1])


def _squared(targets: Tensor, outputs: Tensor) -> Tensor:
    targets, outputs = aligned(targets, outputs)
    return functional.mse_loss(outputs, targets)


def _absolute(targets: Tensor, outputs: Tensor) -> Tensor:
    targets, outputs = aligned(targets, outputs)
    return functional.l1_loss(outputs, targets)


def _huber(targets: Tensor, outputs: Tensor, *, delta: float) -> Tensor:
    targets, outputs = aligned(targets, outputs)
    return functional.huber_loss(outputs, targets, delta=delta)


def _poisson(targets: Tensor, outputs: Tensor) -> Tensor:
    targets, outputs = aligned(targets, outputs)
    return functional.poisson_nll_loss(outputs, targets, log_input=False, eps=EPSILON)


def _divergence(targets: Tensor, outputs: Tensor) -> Tensor:
    targets, outputs = (each.clamp(EPSILON, 1) for each in aligned(targets, outputs))
    return functional.kl_div(outputs.log(), targets, reduction="none").sum(-1).mean()


def _binary(targets: Tensor, outputs: Tensor, *, from_logits: bool, label_smoothing: float) -> Tensor:
    targets, outputs = aligned(targets, outputs)
    if label_smoothing:
        targets = targets * (1 - label_smoothing) + label_smoothing / 2
    if from_logits:
        return functional.binary_cross_entropy_with_logits(outputs, targets)
    return functional.binary_cross_entropy(outputs.clamp(EPSILON, 1 - EPSILON), targets)


def _logits(outputs: Tensor, from_logits: bool) -> Tensor:
    """Logits; of probabilities their logarithms, which softmax makes the same probabilities of."""
    return outputs if from_logits else outputs.clamp(EPSILON, 1 - EPSILON).log()


def _categorical(targets: Tensor, outputs: Tensor, *, from_logits: bool, label_smoothing: float) -> Tensor:
    targets, outputs = aligned(targets, outputs)
    classes, logits = outputs.shape[-1], _logits(outputs, from_logits)
    return functional.cross_entropy(logits.reshape(-1, classes), targets.reshape(-1, classes), label_smoothing=label_smoothing)


def _sparse(targets: Tensor, outputs: Tensor, *, from_logits: bool, label_smoothing: float, ignore_class: int | None) -> Tensor:
    targets, outputs = by_class(targets, outputs)
    left_out: dict[str, Any] = {} if ignore_class is None else {"ignore_index": ignore_class}
    return functional.cross_entropy(_logits(outputs, from_logits), targets, label_smoothing=label_smoothing, **left_out)


SPARSE, BINARY, CATEGORICAL = "sparse_categorical_crossentropy", "binary_crossentropy", "categorical_crossentropy"
_LOGITS = {"from_logits": False, "label_smoothing": 0.0}
LOSSES: Mapping[str, tuple[Callable[..., Tensor], Mapping[str, Any]]] = {
    SPARSE: (_sparse, {**_LOGITS, "ignore_class": None}),
    CATEGORICAL: (_categorical, _LOGITS),
    BINARY: (_binary, _LOGITS),
    "mean_squared_error": (_squared, {}),
    "mean_absolute_error": (_absolute, {}),
    "huber": (_huber, {"delta": 1.0}),
    "kl_divergence": (_divergence, {}),
    "poisson": (_poisson, {}),
}
"""By the names of Keras's functions, each with its arguments and their usual values."""
SHORT = {"mse": "mean_squared_error", "mae": "mean_absolute_error", "bce": BINARY, "kld": "kl_divergence"}
"""Keras's other names for some."""
NUMBERS = {"from_logits": (bool, "true or false"), "ignore_class": (int, "an integer"), "delta": (float, "a number above 0")}
SMOOTHING = (float, "a number from 0 to 1")


def choose_loss(config: OwnConfig, module: torch.nn.Module, targets: Any, outputs: Any) -> ChosenLoss:
    """The loss that a config says; targets and outputs are those of some samples.

    Raises ConfigError for a loss or an argument that is not there, OwnCodeError where the outputs are not what a loss takes.
    """
    loss = config.loss
    if loss.factory:
        return ChosenLoss(own_measure(loss.factory, config), label=loss.factory)
    name = SHORT.get(snake_case(loss.name), snake_case(loss.name))
    if name not in LOSSES:
        raise ConfigError([_unknown_loss(loss, targets)])
    require_tensor(outputs, config, f"loss: {loss.name}")
    measure, usual = LOSSES[name]
    arguments = {**usual, **_checked(loss, usual)}
    remarks: tuple[str, ...] = ()
    if "from_logits" in usual and "from_logits" not in loss.arguments:
        arguments["from_logits"], why = are_logits(module, outputs, name)
        kind = "logits" if arguments["from_logits"] else "probabilities"
        remarks = (f"outputs are taken as {kind} ({why}); loss: {{from_logits: ...}} says it",)
    plain = all(arguments[key] == value for key, value in usual.items() if key != "from_logits")
    logits = bool(arguments.get("from_logits"))
    return ChosenLoss(partial(measure, **arguments), name, loss.name, logits, plain, remarks)


def _unknown_loss(loss: OwnLoss, targets: Any) -> str:
    if loss.name != COMPILED:
        return f"loss.name: no loss {loss.name} for a PyTorch module; known: {', '.join(LOSSES)}, or FILE.py:function"
    classes = isinstance(targets, Tensor) and not targets.is_floating_point()
    example = f"{{name: {SPARSE}, from_logits: true}}" if classes else "{name: mean_squared_error}"
    return f"loss: a PyTorch module is not compiled with one; write loss: {example}, or the like"


def _checked(loss: OwnLoss, usual: Mapping[str, Any]) -> dict[str, Any]:
    """The loss's own arguments. Raises ConfigError for one that it doesn't take, or that is not of its kind."""
    for key, value in loss.arguments.items():
        if key not in usual:
            raise ConfigError([f"loss.{key}: {loss.name} has no such argument here; it takes {', '.join(usual) or 'none'}"])
        kind, needed = NUMBERS.get(key, SMOOTHING)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = isinstance(value, kind) if kind is not float else number and (value > 0 if key == "delta" else 0 <= value <= 1)
        if not fits and value != usual[key]:
            raise ConfigError([f"loss.{key}: must be {needed}, not {value!r}"])
    return loss.arguments


def require_tensor(outputs: Any, config: OwnConfig, what: str) -> None:
    """Raises OwnCodeError where a module gives something else than one tensor, which only functions of the user's own take."""
    if not isinstance(outputs, Tensor):
        hint = "return one tensor, or write loss: FILE.py:function"
        raise OwnCodeError(f"{config.model.factory}: its module gave {described(outputs)}, which {what} doesn't take; {hint}")


def are_logits(module: torch.nn.Module, outputs: Tensor, loss: str) -> tuple[bool, str]:
    """Whether a module's outputs are logits, asked of its last layer, else of some outputs; and what said so."""
    last = list(module.modules())[-1]
    kind = f"the last layer is {type(last).__name__}"
    if isinstance(last, torch.nn.Softmax | torch.nn.Sigmoid):
        return False, kind
    if isinstance(last, torch.nn.LogSoftmax):
        return True, kind
    shares = outputs.shape[-1] > 1 and loss != BINARY and bool((outputs >= 0).all())
    if shares and bool(((outputs.sum(-1) - 1).abs() < SUMS_TO_ONE).all()):
        return False, "outputs are shares that sum to 1"
    return True, f"{kind}, and outputs are no shares that sum to 1" if loss != BINARY else kind


def own_measure(reference: str, config: OwnConfig) -> Measure:
    """A function of the user's own, function(targets, outputs), as the mean of whatever it gives for each sample."""
    function = own_function(reference, config)

    def measure(targets: Any, outputs: Any) -> Tensor:
        with own_code_runs(reference, "it"):
            value = function(targets, outputs)
        if not isinstance(value, Tensor):
            raise returned(reference, value, "a tensor")
        return value.mean() if value.ndim else value

    return measure
