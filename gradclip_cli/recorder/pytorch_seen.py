"""What a PyTorch optimizer and a model say of themselves before the first step."""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gradclip_cli.config.recorded import RecordedModel, RecordedOptimizer
from gradclip_cli.recorder.seen import Seen

MOST_HASHED = 100_000_000
"""Elements of weights up to which they are hashed: a second or two."""
WRAPPED = re.compile(r"(^|\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.|$)")
"""What compiling and wrapping a module puts into its parameters' names."""
LEFT_OUT = {"params", "param_names", "lr", "initial_lr"}
"""Keys of a group that are no settings of the optimizer, or said elsewhere."""


def seen(optimizer: torch.optim.Optimizer, model: torch.nn.Module | None) -> Seen:
    """What is known of a loop by its optimizer and, if it is given, its model."""
    names = names_of(optimizer, model)
    parameters = parameters_of(optimizer)
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return Seen(
        framework="pytorch",
        packages=("torch",),
        variables=tuple(names),
        model=RecordedModel(name=model and type(_bare(model)).__name__, parameters=trained),
        optimizer=optimizer_of(optimizer),
        facts=_start(dict(zip(names, parameters, strict=True)), model),
    )


def parameters_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """All that an optimizer trains, of its groups in turn."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def names_of(optimizer: torch.optim.Optimizer, model: torch.nn.Module | None) -> list[str]:
    """A name for each parameter of an optimizer: its path in the model, as in `layer/weight`, or its place, `group0/param1`."""
    paths = {id(parameter): path for path, parameter in _bare(model).named_parameters()} if model is not None else {}
    names: list[str] = []
    for group, settings in enumerate(optimizer.param_groups):
        for place, parameter in enumerate(settings["params"]):
            path = WRAPPED.sub("", paths.get(id(parameter), f"group{group}.param{place}")).lstrip(".")
            names.append(_new(re.sub(r"[^\w/-]", "_", path.replace(".", "/")), names))
    return names


def _new(name: str, names: Sequence[str]) -> str:
    """A name that is not among these."""
    count = 0
    while (found := f"{name}_{count}" if count else name) in names:
        count += 1
    return found


def _bare(model: torch.nn.Module) -> torch.nn.Module:
    """A model without what distributes or compiles it."""
    while isinstance(model, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel) or hasattr(model, "_orig_mod"):
        model = model._orig_mod if hasattr(model, "_orig_mod") else model.module
    return model


def optimizer_of(optimizer: torch.optim.Optimizer) -> RecordedOptimizer:
    """Its class and settings; of what its groups have differently a list.

    Its learning rate is the one that a scheduler begins with, where there is one; unknown where the groups have several.
    """
    groups = optimizer.param_groups
    rates = [float(group.get("initial_lr", group.get("lr", math.nan))) for group in groups]
    settings = {key: _one(values) for key, values in _settings(groups).items() if any(values)}
    several = len(set(rates)) > 1
    return RecordedOptimizer(
        name=type(optimizer).__name__,
        learning_rate=rates[0] if not several and 0 < rates[0] < math.inf else None,
        settings={**settings, **({"lr": rates} if several else {})},
    )


def _settings(groups: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """What each group says by each key."""
    keys = [key for key in groups[0] if key not in LEFT_OUT]
    return {key: [_written(group.get(key)) for group in groups] for key in keys}


def _written(value: Any) -> Any:
    """A setting as a config holds it."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.item()
    if isinstance(value, list | tuple):
        return [_written(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__


def _one(values: list[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else values


def _start(weights: Mapping[str, Tensor], model: torch.nn.Module | None) -> dict[str, str]:
    """A hash by which runs tell whether they began with the same weights; without one where that would take long."""
    buffers = {name: buffer for name, buffer in _bare(model).named_buffers() if buffer is not None} if model is not None else {}
    tensors = {**weights, **buffers}
    if sum(tensor.numel() for tensor in tensors.values()) > MOST_HASHED:
        return {}
    found = hashlib.sha256()
    with contextlib.suppress(RuntimeError, TypeError, NotImplementedError):  # tensors of a kind that has no bytes
        for name, tensor in tensors.items():
            kind = str(tensor.dtype).removeprefix("torch.")
            found.update(f"{name} {kind} {tuple(tensor.shape)}\n".encode() + _bytes(tensor))
        return {"initial_weights_sha256": found.hexdigest()}
    return {}


def _bytes(tensor: Tensor) -> bytes:
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    return bytes(plain.view(torch.uint8).numpy())
