"""What a user's own model brings along, once it is built: the optimizer, loss and clipping that it was compiled with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Brought:
    """What a model says of itself; None where it says nothing."""

    output_shape: tuple[int | None, ...]
    """Of what it gives for a batch; of several outputs the first one's."""
    optimizer: Mapping[str, Any] | None = None
    """The keys of a config's section."""
    clipping: Mapping[str, Any] | None = None
    """The keys of a config's section."""
    has_loss: bool = False
    loss: str = ""
    """Its name, where it has one."""
