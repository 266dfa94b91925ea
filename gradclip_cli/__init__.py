"""gradclip: does gradient clipping help here?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradclip_cli.notebooks import compare as compare
    from gradclip_cli.notebooks import load as load
    from gradclip_cli.notebooks import report as report
    from gradclip_cli.recorder.keras import Recorder as Recorder
    from gradclip_cli.recorder.lightning import LightningRecorder as LightningRecorder
    from gradclip_cli.recorder.pytorch import record as record
    from gradclip_cli.recorder.transformers import TransformersRecorder as TransformersRecorder

__version__ = "0.2.0"
__all__ = [
    "LightningRecorder",
    "Recorder",
    "TransformersRecorder",
    "__version__",
    "compare",
    "load",
    "record",
    "report",
]

_LAZY = {
    "Recorder": "gradclip_cli.recorder.keras",
    "record": "gradclip_cli.recorder.pytorch",
    "LightningRecorder": "gradclip_cli.recorder.lightning",
    "TransformersRecorder": "gradclip_cli.recorder.transformers",
    "load": "gradclip_cli.notebooks",
    "compare": "gradclip_cli.notebooks",
    "report": "gradclip_cli.notebooks",
}
"""What scripts and notebooks import from here, by where it stands: each brings a framework or pandas, so only when it is asked
for."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
