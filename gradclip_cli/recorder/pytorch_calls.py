"""Who calls PyTorch's clipping functions and loss scalers while something is recorded: that is told, and done as ever.

`clip_grad_norm_` and `clip_grad_value_` are closures around the function that does the work. It is this inner function that is
exchanged, so that a name which a script imported long before is seen as well. Without a recorder all is as PyTorch made it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Sequence
from types import CellType, GeneratorType
from typing import Any, Protocol

from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

NORM, VALUE, OTHER = "global_clipnorm", "clipvalue", "unknown"
"""The modes of the rules that are PyTorch's functions, and of what is none of gradclip's."""


class Listener(Protocol):
    """Who is told. It never raises."""

    def clipping(self, mode: str, threshold: float, parameters: Sequence[Tensor]) -> None:
        """The gradients of these are about to be clipped by the function of a rule."""

    def unscaling(self, optimizer: Any, scale: Tensor | None) -> None:
        """An optimizer's gradients are about to be divided by this."""

    def scaled_step(self, optimizer: Any, step: Callable[[], Any]) -> Any:
        """A loss scaler takes a step, or leaves it out: `step` does it, and what it returns is to be returned."""


class Calls:
    """What is exchanged while there is a listener."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._undo = contextlib.ExitStack()

    def tell(self, listener: Listener) -> None:
        """Tell it from now on."""
        if not self._listeners:
            self._exchange()
        self._listeners.append(listener)

    def forget(self, listener: Listener) -> None:
        """Tell it no more, if it was told."""
        if listener in self._listeners:
            self._listeners.remove(listener)
        if not self._listeners:
            self._undo.close()

    def _exchange(self) -> None:
        for function, read in ((clip_grad_norm_, _norm_clipping), (clip_grad_value_, _value_clipping)):
            if cell := inner(function):  # else PyTorch makes it in another way: what it does is seen, not that it did it
                self._set(cell, "cell_contents", self._clip(cell.cell_contents, read))
        self._set(GradScaler, "unscale_", self._unscale(GradScaler.unscale_))
        self._set(GradScaler, "step", self._step(GradScaler.step))

    def _set(self, thing: Any, name: str, value: Any) -> None:
        self._undo.callback(setattr, thing, name, getattr(thing, name))
        setattr(thing, name, value)

    def _clip(self, function: Callable[..., Any], read: Callable[..., tuple[str, float]]) -> Callable[..., Any]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def clip(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs)
            parameters, others = _listed(given.arguments), {**given.arguments}
            del others["parameters"]
            for listener in self._listeners:
                listener.clipping(*read(**others), parameters)
            return function(*given.args, **given.kwargs)

        return clip

    def _unscale(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def unscale_(scaler: GradScaler, optimizer: Any) -> Any:
            scale = scaler._get_scale_async() if scaler.is_enabled() else None
            for listener in self._listeners:
                listener.unscaling(optimizer, scale)
            return method(scaler, optimizer)

        return unscale_

    def _step(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def step(scaler: GradScaler, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            take = functools.partial(method, scaler, optimizer, *args, **kwargs)
            for listener in self._listeners:
                take = functools.partial(listener.scaled_step, optimizer, take)
            return take()

        return step


CALLS = Calls()
"""Those of this process."""


def inner(function: Callable[..., Any]) -> CellType | None:
    """The cell in which a function of `torch.nn.utils` keeps the one that does its work."""
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    return dict(zip(names, getattr(function, "__closure__", None) or (), strict=True)).get("func")


def _listed(arguments: dict[str, Any]) -> list[Tensor]:
    """The parameters of a call, which is left able to go through them itself."""
    given = arguments["parameters"]
    listed = [given] if isinstance(given, Tensor) else list(given)
    if isinstance(given, GeneratorType):  # of which PyTorch warns where it is empty
        arguments["parameters"] = (each for each in listed)
    elif not isinstance(given, Tensor):
        arguments["parameters"] = listed
    return listed


def _norm_clipping(max_norm: float, norm_type: float = 2.0, **_: Any) -> tuple[str, float]:
    return NORM if float(norm_type) == 2 else OTHER, float(max_norm)


def _value_clipping(clip_value: float, **_: Any) -> tuple[str, float]:
    return VALUE, float(clip_value)
