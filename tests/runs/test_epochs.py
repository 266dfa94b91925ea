"""Many `metrics.csv` parsed together: what each holds is what it holds alone, to the bit, and so is what is wrong with it."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradclip_cli.errors import StoreError
from gradclip_cli.runs import epochs
from gradclip_cli.runs.csv_files import MetricsText, metric_columns, metrics_line
from gradclip_cli.runs.epochs import Epochs

COLUMNS = metric_columns(["accuracy"])
NUMBERS = st.lists(st.floats() | st.sampled_from([0.1, 0.29200000000000004, 1e-300]), min_size=7, max_size=7)
RUNS = st.lists(st.lists(NUMBERS, max_size=3), min_size=1, max_size=4)


def text(rows: list[list[float]], *, changed: bytes | None = None, columns: list[str] = COLUMNS) -> MetricsText:
    lines = [metrics_line(dict(zip(columns, [epoch, *row], strict=True))) for epoch, row in enumerate(rows, 1)]
    content = "".join(f"{line}\n" for line in [",".join(columns), *lines]).encode()
    sha256 = hashlib.sha256(content).hexdigest()
    return MetricsText(Path("metrics.csv"), content if changed is None else changed, columns, len(rows), sha256)


def outcomes(texts: list[MetricsText]) -> list[object]:
    """What is found, with all bits of numbers, or what is said to be wrong."""
    return [(each.columns, each.values.tobytes()) if isinstance(each, Epochs) else str(each) for each in epochs.parse(texts)]


@given(RUNS)
def test_together_as_alone(runs: list[list[list[float]]]) -> None:
    texts = [text(rows) for rows in runs]
    alone = [outcomes([each])[0] for each in texts]
    assert outcomes(texts) == alone


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"0.5", b"0.6"),
        (b"0.5", b'"0.5"'),
        (b"0.5", b" 0.5"),
        (b"0.5", b"nine"),
        (b"0.5,", b""),
        (b"0.5,", b"0.5,0.5,"),
        (b"\n2,", b"\n3,"),
        (b"\n2,", b"\n\n2,"),
        (b"loss", b"lost"),
        (b"\n", b"\r"),
    ],
)
def test_one_that_was_changed_is_told_of_and_the_others_are_read(old: bytes, new: bytes) -> None:
    whole = text([[0.5, 0.25] * 3 + [1.0]] * 2)
    broken = text([[0.5, 0.25] * 3 + [1.0]] * 2, changed=whole.content.replace(old, new, 1))
    for sha256 in (whole.sha256, None):  # older runs say none
        texts = [each._replace(sha256=sha256) for each in (whole, broken, whole)]
        assert outcomes(texts) == [outcomes([each])[0] for each in texts]
    assert isinstance(epochs.parse([whole, broken, whole])[1], StoreError)


def test_runs_of_other_columns_and_of_no_epoch() -> None:
    other = text([[1.0, 2.0, 3.0, 4.0, 5.0]], columns=metric_columns([]))
    ended_at_once = text([])
    first, second, third = epochs.parse([text([[math.nan] * 7]), other, ended_at_once])
    assert isinstance(first, Epochs)
    assert np.isnan(first["loss"]).all()
    assert isinstance(second, Epochs)
    assert second["val_loss"].tolist() == [2.0]
    assert isinstance(third, Epochs)
    assert (len(third), third["loss"].tolist()) == (0, [])
    with pytest.raises(KeyError, match="accuracy"):
        second["accuracy"]
