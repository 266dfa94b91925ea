"""gradclip: does gradient clipping help here?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradclip_cli.recorder.keras import Recorder as Recorder

__version__ = "0.1.0"
__all__ = ["Recorder", "__version__"]

_FROM = {"Recorder": "gradclip_cli.recorder.keras"}


def __getattr__(name: str) -> Any:
    """What is public is imported when it is asked for: a framework comes with it."""
    if name in _FROM:
        return getattr(importlib.import_module(_FROM[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
