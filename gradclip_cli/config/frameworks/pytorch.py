"""What PyTorch has for what a config says in Keras's words, and what it hasn't. Needs no framework to tell.

Sources: the documentation of `torch.optim` and `torch.nn`, and Keras's `optimizers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gradclip_cli.config.framework import Framework
from gradclip_cli.gradients.scopes import EACH_VARIABLE

if TYPE_CHECKING:
    from gradclip_cli.config.optimizers import Optimizer
    from gradclip_cli.config.schema import Config  # which reads this file to know what may be chosen


@dataclass(frozen=True)
class Counterpart:
    """The optimizer in `torch.optim` that does what one of Keras's does."""

    name: str
    arguments: Mapping[str, tuple[str, ...]]
    """Its arguments, each with the Keras parameters that it holds."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that Keras has as constants."""


_EPSILON = {"eps": ("epsilon",)}
_BETAS = {"betas": ("beta_1", "beta_2"), **_EPSILON}
OPTIMIZERS: Mapping[str, Counterpart] = MappingProxyType(
    {
        "sgd": Counterpart("SGD", {"momentum": ("momentum",), "nesterov": ("nesterov",)}),
        "rmsprop": Counterpart("RMSprop", {"alpha": ("rho",), "momentum": ("momentum",), "centered": ("centered",), **_EPSILON}),
        "adam": Counterpart("Adam", {**_BETAS, "amsgrad": ("amsgrad",)}),
        "adamw": Counterpart("AdamW", {**_BETAS, "amsgrad": ("amsgrad",), "weight_decay": ("weight_decay",)}),
        "adamax": Counterpart("Adamax", _BETAS),
        "nadam": Counterpart(
            "NAdam", {**_BETAS, "weight_decay": ("weight_decay",)}, {"momentum_decay": 1.0, "decoupled_weight_decay": True}
        ),
        "adagrad": Counterpart("Adagrad", {"initial_accumulator_value": ("initial_accumulator_value",), **_EPSILON}),
        "adadelta": Counterpart("Adadelta", {"rho": ("rho",), **_EPSILON}),
    }
)
_WITHOUT_COUNTERPART = {
    "adafactor": "torch.optim.Adafactor scales its updates in another way",
    "muon": "torch.optim.Muon trains matrices only, without an Adam for the rest",
}
ACTIVATIONS = {"lstm": ("tanh",), "gru": ("tanh",), "simple_rnn": ("tanh", "relu")}
_LAYERS = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "RNN"}


def pytorch_optimizer(optimizer: Optimizer) -> tuple[str, dict[str, Any]]:
    """Name and arguments, learning rate and all, of the `torch.optim` class that does what this optimizer says.

    Keras's defaults are passed on explicitly. The optimizer must be one that `lacking` has nothing against.
    """
    counterpart, parameters = OPTIMIZERS[optimizer.name], optimizer.parameters()
    arguments = {"lr": optimizer.learning_rate, **counterpart.fixed}
    for argument, names in counterpart.arguments.items():
        values = tuple(parameters[name] for name in names)
        arguments[argument] = values if len(values) > 1 else values[0]
    if optimizer.name == "adagrad":  # Keras adds epsilon to the squares under the root, so they may as well begin with it.
        arguments["initial_accumulator_value"] += arguments["eps"]
        arguments["eps"] = 0.0
    if "nesterov" in arguments:  # Without momentum it means nothing to Keras; PyTorch refuses it.
        arguments["nesterov"] = arguments["nesterov"] and arguments["momentum"] > 0
    if "weight_decay" in arguments:
        arguments["weight_decay"] = arguments["weight_decay"] or 0.0
    return counterpart.name, arguments


def lacking(config: Config) -> dict[str, str]:
    """Dotted keys whose values PyTorch can't do, with the reason and PyTorch's counterpart."""
    found = {}
    model = config.model.model_dump(include={"cell", "activation"})  # of the article's kind only
    if model and model["activation"] not in ACTIVATIONS[model["cell"]]:
        known = " and ".join(ACTIVATIONS[model["cell"]])
        found["model.activation"] = f"torch.nn.{_LAYERS[model['cell']]} has {known} only, not {model['activation']}"
    name = config.optimizer.name
    if name not in {*OPTIMIZERS, "compiled"}:  # what only a Keras model has is refused where it is built
        why = _WITHOUT_COUNTERPART.get(name, f"torch.optim has no {name}")
        found["optimizer.name"] = f"{why}; with pytorch: {', '.join(OPTIMIZERS)}"
    elif (
        name in OPTIMIZERS
        and config.optimizer.parameters().get("weight_decay")
        and "weight_decay" not in OPTIMIZERS[name].arguments
    ):
        found["optimizer.weight_decay"] = (
            f"Keras decays the weights apart from the gradient, torch.optim.{OPTIMIZERS[name].name} adds its weight_decay to it, "
            "as model.regularizer.l2 of half its size does for kernels; with pytorch adamw and nadam decay apart"
        )
    return found


def clipping_line(config: Config) -> str | None:
    """The call of `torch.nn.utils` that clips; None where there is none that does the same."""
    rule = config.clipping
    if rule.pytorch_function is None or rule.layer_thresholds:
        return None
    call = f"torch.nn.utils.{rule.pytorch_function}"
    if rule.scope is EACH_VARIABLE:
        return f"for parameter in model.parameters(): {call}(parameter, {rule.threshold_of_all:g})  # after backward()"
    return f"{call}(model.parameters(), {rule.threshold_of_all:g})  # after backward()"


FRAMEWORK = Framework(
    title="PyTorch",
    short_title="PyTorch",
    choice="pytorch, where it is installed",
    package="torch",
    distributions=("torch",),
    installation="pip install 'gradclip-cli[pytorch]'",
    model_file="model.pt",
    # Measured on two cores of a shared machine with the article's model, rounded up: see results/LOG.md.
    usual_pace={"step": 0.0014, "evaluation": 0.2, "compilation": 0.0, "start": 4.0},
    usual_memory=500_000_000,
    apart=("triton",),  # of CUDA builds
    imported_as=("torch",),
    clipping_line=clipping_line,
    settings=("device",),
    instead={"jit": "pytorch compiles nothing"},
    lacking=lacking,
)
