"""How a framework is imported in two thirds of the time: uncollected, and without what only its other uses need.

An import makes a million objects that stay. The garbage collector looks through all of them again and again, during the
import and ever after, and finds nothing.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def quick_import(without: Sequence[str] = ()) -> Iterator[None]:
    """Import a framework in the block; what then is there is never looked at by the garbage collector.

    Meanwhile packages of `without` that aren't imported yet seem not to be installed, if this is the main thread: others
    may need them, and start in threads of their own.
    """
    modules: dict[str, Any] = sys.modules
    is_main = threading.current_thread() is threading.main_thread()
    hidden = [name for name in without if is_main and name not in modules]
    was_enabled = gc.isenabled()
    gc.disable()
    modules.update(dict.fromkeys(hidden))  # None: an import of it raises ImportError
    try:
        yield
    finally:
        for name in hidden:
            del modules[name]
        gc.freeze()
        if was_enabled:
            gc.enable()


def import_apart(package: str) -> None:
    """Import a package, where it is installed, whose libraries then use their own symbols first, whatever others brought.

    TensorFlow and Triton, which PyTorch's CUDA build imports, each bring an LLVM: Triton's takes TensorFlow's for its own where
    that is there already, and the process dies of it.
    """
    if package in sys.modules or not importlib.util.find_spec(package):
        return
    if not hasattr(os, "RTLD_DEEPBIND"):
        importlib.import_module(package)
        return
    usual = sys.getdlopenflags()
    sys.setdlopenflags(usual | os.RTLD_DEEPBIND)
    try:
        importlib.import_module(package)
    finally:
        sys.setdlopenflags(usual)
