"""The steps that detectors read: from `steps.csv`, and the same to the digit from the one small file that keeps them."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import store_run

from gradclip_cli.errors import StoreError
from gradclip_cli.evidence import signals
from gradclip_cli.evidence.arms import read_arms


def frame(*values: float) -> pd.DataFrame:
    return pd.DataFrame({column: np.array(values) for column in signals.COLUMNS})


def test_kept_steps_are_those_that_were_read(results: Path) -> None:
    for seed in range(2):
        store_run(results, "none", seed, [2.0, 1.23456789, 1 / 3 + seed])
    [arm], _ = read_arms(results)
    steps = {signals.name_of(run): signals.steps_of(run) for run in arm.runs}
    assert not signals.holds(results, steps)
    signals.write(results, steps)
    kept = signals.read(results)
    assert list(kept) == [("none", 0), ("none", 1)]
    for name, each in steps.items():
        pd.testing.assert_frame_equal(kept[name], each)
    assert signals.holds(results, steps)
    whole = pd.read_csv(arm.runs[1].directory.steps_path)
    assert kept["none", 1]["update_norm"].tolist() == whole["update_norm"].tolist()


def test_any_name_and_what_is_not_finite_come_back(tmp_path: Path) -> None:
    steps = {("null", 0): frame(1.0, np.inf, np.nan), ("NA", 12): frame(1e-30), ("None", 3): frame(123456.0)}
    signals.write(tmp_path, steps)
    assert signals.holds(tmp_path, steps)
    first = (tmp_path / signals.SIGNALS_FILE).read_bytes()
    signals.write(tmp_path, dict(reversed(steps.items())))
    assert (tmp_path / signals.SIGNALS_FILE).read_bytes() == first


def test_a_run_without_steps_has_none(results: Path) -> None:
    store_run(results, "none", 0, [2.0, 1.0, 1.0]).steps_path.unlink()
    [arm], _ = read_arms(results)
    assert signals.steps_of(arm.runs[0]) is None


@pytest.mark.hostile
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no xz",
        lzma.compress(b"")[:-4],
        lzma.compress(b"arm,seed\nnone,0\n"),
        lzma.compress(b"\xff\xfe"),
        lzma.compress(b"arm,seed,grad_norm,update_norm,loss\nnone,one,1,1,1\n"),
    ],
)
def test_a_broken_file_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / signals.SIGNALS_FILE).write_bytes(content)
    with pytest.raises(StoreError, match=r"signals\.csv\.xz: can't be read"):
        signals.read(tmp_path)
