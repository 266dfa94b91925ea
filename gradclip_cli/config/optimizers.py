"""The optimizers that a config may choose: Keras's, with Keras's names, parameters and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from gradclip_cli.limits import MOST_STEPS
from gradclip_cli.sections import NotNegative, Positive, Section, Share

MOST_ITERATIONS = 1000


class Optimizer(Section):
    """Base of the optimizer sections; `name` selects one, `learning_rate` is common to all."""

    name: str
    learning_rate: Positive = 0.01

    @property
    def label(self) -> str:
        """The optimizer in short, with its rate and what is not as usual, such as `SGD 0.01` or `SGD 0.01 (momentum 0.9)`."""
        usual = OPTIMIZERS[self.name]
        unusual = [f"{key} {value}" for key, value in self.parameters().items() if value != usual[key]]
        others = f" ({', '.join(unusual)})" if unusual else ""
        return f"{TITLES.get(self.name, self.name.capitalize())} {self.learning_rate:g}{others}"

    def parameters(self) -> dict[str, Any]:
        """All parameters but the learning rate, by their Keras names."""
        return self.model_dump(exclude={"name", "learning_rate"})


_PARAMETERS: dict[str, tuple[Any, str]] = {
    "learning_rate": (Positive, "Step size."),
    "momentum": (Share, "Share of the previous update that is kept."),
    "nesterov": (bool, "Look ahead along the momentum before taking the gradient into account."),
    "rho": (Share, "Decay of the running mean of squared gradients."),
    "centered": (bool, "Normalize by the gradients' estimated variance, not their second moment."),
    "beta_1": (Share, "Decay of the running mean of gradients."),
    "beta_2": (Share, "Decay of the running mean of squared gradients."),
    "epsilon": (Positive, "Added to a denominator so that it is never zero."),
    "amsgrad": (bool, "Never let the second-moment estimate shrink (AMSGrad)."),
    "weight_decay": (NotNegative | None, "Decoupled weight decay a step, as a multiple of the learning rate; null for none."),
    "initial_accumulator_value": (NotNegative, "Start of the accumulated squared gradients."),
    "learning_rate_power": (Annotated[float, Field(le=0)], "Power that makes the learning rate fall with the accumulator."),
    "l1_regularization_strength": (NotNegative, "FTRL's own L1 penalty."),
    "l2_regularization_strength": (NotNegative, "FTRL's own L2 penalty."),
    "l2_shrinkage_regularization_strength": (NotNegative, "FTRL's L2 penalty on magnitude."),
    "beta": (NotNegative, "FTRL's beta, added to the accumulator's root."),
    "beta_2_decay": (float, "Exponent of the second moment's decay schedule."),
    "epsilon_1": (Positive, "Added to squared gradients."),
    "epsilon_2": (Positive, "Smallest root mean square of a parameter used for relative step sizes."),
    "clip_threshold": (Positive, "Adafactor's own bound on the root mean square of an update; not gradient clipping."),
    "relative_step": (bool, "Let the step size fall with the step count."),
    "adam_beta_1": (Share, "beta_1 of the Adam that trains biases and the output layer."),
    "adam_beta_2": (Share, "beta_2 of the Adam that trains biases and the output layer."),
    "adam_weight_decay": (NotNegative, "Weight decay of that Adam."),
    "adam_lr_ratio": (Positive, "Learning rate of that Adam over Muon's."),
    "muon_a": (float, "First coefficient of the Newton-Schulz iteration."),
    "muon_b": (float, "Second coefficient of the Newton-Schulz iteration."),
    "muon_c": (float, "Third coefficient of the Newton-Schulz iteration."),
    "ns_steps": (Annotated[int, Field(ge=1, le=MOST_ITERATIONS)], "Newton-Schulz iterations a step."),
    "rms_rate": (Positive, "Scale of an update's root mean square."),
    "warmup_steps": (Annotated[int, Field(ge=0, le=MOST_STEPS)], "Steps over which the learning rate rises."),
}

TITLES = {"sgd": "SGD", "rmsprop": "RMSprop", "adamw": "AdamW", "schedulefreeadamw": "ScheduleFreeAdamW"}
"""Optimizers that are not written as their names are, with a capital letter."""
_ADAM = {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}

# Keras's optimizers with Keras's defaults. Its clipping, moving-average, loss-scale and accumulation arguments are left
# out on purpose: clipping has its own section, and the others change what a step is.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": None},
    "rmsprop": {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False, "weight_decay": None},
    "adam": {**_ADAM, "amsgrad": False, "weight_decay": None},
    "adamw": {**_ADAM, "amsgrad": False, "weight_decay": 0.004},
    "adamax": {**_ADAM, "weight_decay": None},
    "nadam": {**_ADAM, "weight_decay": None},
    "lamb": {**_ADAM, "weight_decay": None},
    "lion": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.99, "weight_decay": None},
    "adagrad": {"learning_rate": 0.001, "initial_accumulator_value": 0.1, "epsilon": 1e-7, "weight_decay": None},
    "adadelta": {"learning_rate": 0.001, "rho": 0.95, "epsilon": 1e-7, "weight_decay": None},
    "adafactor": {
        "learning_rate": 0.001,
        "beta_2_decay": -0.8,
        "epsilon_1": 1e-30,
        "epsilon_2": 1e-3,
        "clip_threshold": 1.0,
        "relative_step": True,
        "weight_decay": None,
    },
    "schedulefreeadamw": {
        "learning_rate": 0.0025,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-8,
        "warmup_steps": 0,
        "weight_decay": None,
    },
    "ftrl": {
        "learning_rate": 0.001,
        "learning_rate_power": -0.5,
        "initial_accumulator_value": 0.1,
        "l1_regularization_strength": 0.0,
        "l2_regularization_strength": 0.0,
        "l2_shrinkage_regularization_strength": 0.0,
        "beta": 0.0,
        "weight_decay": None,
    },
    "muon": {
        "learning_rate": 0.001,
        "adam_beta_1": 0.9,
        "adam_beta_2": 0.999,
        "adam_weight_decay": 0.004,
        "adam_lr_ratio": 1.0,
        "momentum": 0.95,
        "nesterov": True,
        "ns_steps": 5,
        "muon_a": 3.4445,
        "muon_b": -4.775,
        "muon_c": 2.0315,
        "rms_rate": 0.2,
        "epsilon": 1e-7,
        "weight_decay": 0.004,
    },
}


def _optimizer_section(name: str, defaults: Mapping[str, Any]) -> type[Optimizer]:
    fields: dict[str, Any] = {"name": (Literal[name], Field(default=name, description="Optimizer, by its Keras name."))}
    for parameter, default in defaults.items():
        kind, meaning = _PARAMETERS[parameter]
        fields[parameter] = (kind, Field(default=default, description=meaning))
    return create_model(name.capitalize(), __base__=Optimizer, __doc__=f"Keras's {name} optimizer.", **fields)


OPTIMIZER_SECTIONS = {name: _optimizer_section(name, defaults) for name, defaults in OPTIMIZERS.items()}


class CompiledOptimizer(Optimizer):
    """The optimizer that a model of the user's own was compiled with, but for its clipping, which the config says."""

    name: Literal["compiled"] = Field(default="compiled", description="The optimizer that the model was compiled with.")
    learning_rate: Positive | None = Field(  # type: ignore[assignment]  # unknown until the model is built
        default=None, description="Step size in place of the optimizer's own; null keeps that, a schedule too."
    )

    @property
    def label(self) -> str:
        """In short: only the built model tells more."""
        return "the model's own optimizer" + ("" if self.learning_rate is None else f" at {self.learning_rate:g}")
