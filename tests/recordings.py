"""What a recorder sees of a loop, made up: two variables, and steps whose norms grow."""

from __future__ import annotations

import numpy as np

from gradclip_cli.gradients.step_records import StepRecords
from gradclip_cli.recorder.seen import Seen

SEEN = Seen("a_framework", ("numpy",), ("dense/kernel", "dense/bias"))


def records(steps: int = 4, scale: float = 1.0) -> StepRecords:
    """Steps of two variables, whose norms grow; every second one is clipped to half."""
    norm = scale * np.arange(1.0, steps + 1)[:, None] * [3.0, 4.0]
    excess = 1.0 + np.arange(steps) % 2
    return StepRecords(
        loss=np.linspace(2, 1, steps),
        penalty=np.zeros(steps),
        correct=np.zeros(steps, dtype=int),
        norm=norm,
        max_abs=norm / 2,
        applied_norm=norm / excess[:, None],
        applied_max_abs=norm / 2 / excess[:, None],
        excess=excess,
        update_norm=np.full(steps, 0.1),
        weights_finite=np.ones((steps, 2), dtype=bool),
    )
