"""What frameworks say while they train is kept from whoever makes a page."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

LOUD = ("lightning.pytorch", "lightning.fabric", "transformers", "accelerate")


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """While it lasts, nothing is shown."""
    levels = {name: logging.getLogger(name).level for name in LOUD}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        for name in LOUD:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
