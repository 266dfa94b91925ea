"""Engines: each trains a model in one framework, behind one contract; they know nothing of runs, epochs or arms."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from contextlib import nullcontext
from types import ModuleType

from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.config.recorded import RecordedConfig
from gradclip_cli.config.schema import Config
from gradclip_cli.engines.compiled import keeping
from gradclip_cli.engines.contract import Engine
from gradclip_cli.engines.importing import import_apart, quick_import
from gradclip_cli.errors import EngineError
from gradclip_cli.problems import problem_of
from gradclip_cli.problems.contract import Dataset


def compile_key(config: Config) -> str:
    """What an engine is compiled for: the config without what `reset` and `train` take anew for each run; a script has none."""
    if isinstance(config, RecordedConfig):
        return ""
    others = {"optimizer": {"learning_rate"}}
    settings = config.model_dump_json(include={"engine", "loss", "optimizer", "clipping"}, exclude=others)
    return settings + problem_of(config).compiled_for


def build(config: Config, dataset: Dataset) -> Engine:
    """Build the engine that a config asks for: the `ENGINE` of the file by its framework's name. Only here is one imported.

    Raises EngineError where the framework is not installed or can't run as configured.
    """
    problem = problem_of(config)
    engine: Engine = imported(config.engine.framework, whole=problem.runs_own_code).ENGINE(problem, dataset)
    return engine


def imported(name: str, *, whole: bool = True) -> ModuleType:
    """The module of a framework's engine, with the framework set up for it; `whole` with what only a user's own code may use.

    What this process imported before stays as it is. Raises EngineError as `build` does.
    """
    framework = FRAMEWORKS[name]
    if not importlib.util.find_spec(framework.package):
        message = f"{framework.short_title} is not installed here: {framework.installation}, then the same command again."
        raise EngineError(message)
    engine = f"{__name__}.{name}"
    if engine not in sys.modules:
        keeps = framework.keeps_compiled and not whole
        with quick_import(without=() if whole else framework.spared), keeping() if keeps else nullcontext():
            for package in framework.apart:
                import_apart(package)
            importlib.import_module(engine)
    module = sys.modules[engine]
    module.set_up()
    return module
