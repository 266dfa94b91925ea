"""TensorFlow, by way of Keras, whose words a config speaks: it lacks nothing."""

from __future__ import annotations

from gradclip_cli.config.framework import Framework

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
    settings=("jit",),
    instead={"device": "tensorflow takes a GPU that it sees (CUDA_VISIBLE_DEVICES hides it)"},
)
