"""What `try` is given, as keys of a config: a function that builds a model, a saved model; and its data, where they are found."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradclip_cli.config.frameworks import DEFAULT_FRAMEWORK, FRAMEWORKS
from gradclip_cli.errors import ConfigError
from gradclip_cli.problems.own.references import Reference
from gradclip_cli.problems.own.sources import suggest_functions

LOAD = "load"
"""The function that is taken for the data's, beside the model's."""
NPZ = "data.npz"
"""The file that is taken for the data, beside the model."""


def model_keys(model: str) -> dict[str, Any]:
    """The section `model` for what was given: FILE.py:function, package.module:function or FILE.keras.

    Raises ConfigError where it is neither, with what to write instead.
    """
    if model.endswith(".keras"):
        if not Path(model).is_file():
            raise ConfigError([f"{model}: no such file"])
        return {"file": model}
    if model.endswith(".py") and Path(model).is_file():
        functions = suggest_functions(Path(model))
        which = functions[0] if len(functions) == 1 else "FUNCTION"
        there = f" (there: {', '.join(functions)})" if functions else ""
        raise ConfigError([f"{model}: which function builds the model? Write {model}:{which}{there}"])
    return {"factory": str(Reference.parse(model))}


def data_keys(model: Mapping[str, Any], data: str | None) -> dict[str, Any]:
    """The section `data`: what was given, else the function `load` in the model's file, else `data.npz` beside it.

    Raises ConfigError where there is none of them.
    """
    if data is not None:
        return {"factory": data} if ":" in data else {"npz": data}
    file = Path(str(model.get("file") or str(model["factory"]).partition(":")[0]))
    if file.suffix == ".py" and LOAD in suggest_functions(file):
        return {"factory": f"{file}:{LOAD}"}
    if (beside := file.parent / NPZ).is_file():
        return {"npz": str(beside)}
    beside_it = f"or put a function {LOAD} into the model's file, or {NPZ} beside it"
    raise ConfigError([f"data: none given. Write --data FILE.npz or --data FILE.py:function; {beside_it}"])


def framework_of(model: Mapping[str, Any]) -> str:
    """What trains a model: the framework that its file imports, where that is one only; else the usual one."""
    file = Path(str(model.get("factory", "")).partition(":")[0])
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return DEFAULT_FRAMEWORK
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    tops = {name.partition(".")[0] for name in names}
    found = [name for name, framework in FRAMEWORKS.items() if tops & {*framework.imported_as}]
    return found[0] if len(found) == 1 else DEFAULT_FRAMEWORK
