"""TensorFlow, by way of Keras, whose words a config speaks: it lacks nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclip_cli.config.framework import Framework

if TYPE_CHECKING:
    from gradclip_cli.config.schema import Config  # which reads this file to know what may be chosen


def clipping_line(config: Config) -> str | None:
    """The Keras optimizer with its argument that clips; None where it has none that does the same."""
    rule, optimizer = config.clipping, config.optimizer
    if rule.keras_argument is None or rule.layer_thresholds:
        return None
    argument = f"{rule.keras_argument}={rule.threshold_of_all:g}"
    if optimizer.learning_rate is None:
        return f"{argument}  # an argument of your optimizer"
    return f"keras.optimizers.{optimizer.label.split()[0]}({optimizer.learning_rate:g}, {argument})"


FRAMEWORK = Framework(
    title="TensorFlow (Keras)",
    short_title="TensorFlow",
    choice="tensorflow (Keras)",
    package="tensorflow",
    distributions=("tensorflow", "keras"),
    installation="pip install tensorflow",
    model_file="model.keras",
    # Measured on two cores of a shared machine with the article's model, rounded up: see results/LOG.md.
    usual_pace={"step": 0.0007, "evaluation": 0.1, "compilation": 4.0, "start": 5.0},
    spared=("matplotlib", "pandas", "sklearn"),  # Keras's pictures, data frames and wrappers
    keeps_compiled=True,
    imported_as=("keras", "tensorflow"),
    clipping_line=clipping_line,
    settings=("jit",),
    instead={"device": "tensorflow takes a GPU that it sees (CUDA_VISIBLE_DEVICES hides it)"},
)
