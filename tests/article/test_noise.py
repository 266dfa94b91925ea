"""The noise floor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reproduced import SEEDS, store_all

from gradclip_cli.article.reproduce import answer_claims


def test_noise_floor_by_hand(results: Path) -> None:
    store_all(results)
    spreads = {spread.what.split()[0]: spread for spread in answer_claims(SEEDS, results).spreads}
    control = np.array([0.01 * (np.sin(seed + 7) - np.sin(seed + 4)) for seed in SEEDS])
    assert spreads["control"].loss_late == pytest.approx(control.std(ddof=1))
    assert spreads["control"].accuracy_late == pytest.approx(100 * control.std(ddof=1) / 3)
    assert spreads["control"].loss_early == 0
    unpaired = np.sqrt(2) * np.array([0.01 * np.sin(seed + 4) for seed in SEEDS]).std(ddof=1)
    assert spreads["two"].loss_late == pytest.approx(unpaired)
