"""Engines: each trains a model in one framework, behind one contract; they know nothing of files, epochs or arms."""

from __future__ import annotations

import importlib.util
import sys

from gradclip_cli.config.schema import Config
from gradclip_cli.engines.contract import Engine
from gradclip_cli.errors import EngineError
from gradclip_cli.problems import problem_of
from gradclip_cli.problems.contract import Dataset


def compile_key(config: Config) -> str:
    """What an engine is compiled for: the config without what `reset` and `train` take anew for each run."""
    others = {"optimizer": {"learning_rate"}}
    settings = config.model_dump_json(include={"engine", "loss", "optimizer", "clipping"}, exclude=others)
    return settings + problem_of(config).compiled_for


def preparation(config: Config) -> str:
    """What takes the time until a config's engine is built, in words: the framework's import, in a fresh process."""
    package, title = {"tensorflow": ("tensorflow", "TensorFlow"), "pytorch": ("torch", "PyTorch")}[config.engine.framework]
    return "building the model" if package in sys.modules else f"importing {title}"


def build(config: Config, dataset: Dataset) -> Engine:
    """Build the engine that a config asks for. Only here is a framework imported.

    Raises EngineError where the framework is not installed or can't run as configured.
    """
    if config.engine.framework == "tensorflow":
        from gradclip_cli.engines.tensorflow import TensorFlowEngine

        return TensorFlowEngine(problem_of(config), dataset)
    if not importlib.util.find_spec("torch"):
        raise EngineError("PyTorch is not installed here: pip install 'gradclip-cli[pytorch]', then the same command again.")
    from gradclip_cli.engines.pytorch import PyTorchEngine

    return PyTorchEngine(problem_of(config), dataset)
