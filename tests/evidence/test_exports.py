"""Runs as one table: its numbers are those of the files, whatever the run's age and kind, and what is missing is said."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import store_run
from exported import QUANTITIES_OF_STEPS, record, store_older, store_telling, write_steps

from gradclip_cli.errors import ExportError, StoreError
from gradclip_cli.evidence import exports
from gradclip_cli.evidence.exports import Detail
from gradclip_cli.runs import packing
from gradclip_cli.runs.store import RunDirectory, runs


def exported(*directories: RunDirectory, detail: Detail = Detail.VARIABLES) -> str:
    found, warnings = exports.read(directories, detail)
    assert warnings == []
    return "".join(exports.csv_pieces(found, detail))


def table(*directories: RunDirectory, detail: Detail = Detail.VARIABLES) -> pd.DataFrame:
    """What pandas reads of it with nothing but its defaults, but that no variable is an empty text."""
    frame = pd.read_csv(io.StringIO(exported(*directories, detail=detail)), dtype={"variable": "str"})
    return frame.fillna({"variable": ""})


def values(frame: pd.DataFrame, per: str, quantity: str, variable: str = "") -> list[float]:
    chosen = (frame["per"] == per) & (frame["quantity"] == quantity) & (frame["variable"] == variable)
    found: list[float] = frame.loc[chosen, "value"].tolist()
    return found


def test_each_number_of_the_files_is_there_once(results: Path) -> None:
    run = store_telling(results)
    frame = table(run)
    assert tuple(frame.columns) == exports.COLUMNS
    steps, metrics = pd.read_csv(run.steps_path), pd.read_csv(run.metrics_path)
    assert list(steps)[1:] == list(QUANTITIES_OF_STEPS)
    for column, (quantity, variable) in QUANTITIES_OF_STEPS.items():
        assert values(frame, "step", quantity, variable) == steps[column].tolist()
    for column in ("loss", "accuracy", "val_loss", "val_accuracy", "clipped_fraction"):
        assert values(frame, "epoch", column) == metrics[column].tolist()
    assert values(frame, "epoch", "median_gradient_norm_before_clipping") == metrics["grad_norm_median"].tolist()
    assert values(frame, "epoch", "largest_gradient_norm_before_clipping") == metrics["grad_norm_max"].tolist()
    assert len(frame) == len(steps) * len(QUANTITIES_OF_STEPS) + len(metrics) * 7


def test_a_row_says_whose_and_when_it_is(results: Path) -> None:
    frame = table(store_telling(results), store_run(results, "none", 0, [2.0]))
    assert frame[["arm", "seed"]].drop_duplicates().to_numpy().tolist() == [["clipnorm", 2], ["none", 0]]
    of_one = frame[(frame["arm"] == "clipnorm") & (frame["quantity"] == "loss")]
    epochs, steps = of_one[of_one["per"] == "epoch"], of_one[of_one["per"] == "step"]
    assert epochs[["epoch", "step"]].to_numpy().tolist() == [[1, 4], [2, 8], [3, 12]]
    assert steps["step"].tolist() == list(range(1, 13))
    assert steps["epoch"].tolist() == [1] * 4 + [2] * 4 + [3] * 4


def test_steps_keep_the_digits_that_they_were_stored_with(results: Path) -> None:
    run = store_telling(results)
    stored = pd.read_csv(run.steps_path, dtype=str)["grad_norm"].tolist()
    lines = [line for line in exported(run).splitlines() if ",,gradient_norm_before_clipping," in line]
    assert [line.rpartition(",")[2] for line in lines] == stored


@pytest.mark.parametrize(("detail", "rows"), [(Detail.EPOCHS, 21), (Detail.STEPS, 21 + 12 * 7), (Detail.VARIABLES, 21 + 12 * 11)])
def test_detail_says_how_much(results: Path, detail: Detail, rows: int) -> None:
    assert len(table(store_telling(results), detail=detail)) == rows


def test_pieces_are_of_a_bounded_size_and_make_the_same_table(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store_telling(results)
    whole = exported(run)
    monkeypatch.setattr(exports, "CELLS", 60)  # five rows of twelve columns
    (found,), _ = exports.read([run], Detail.VARIABLES)
    told: list[int] = []
    assert [len(piece) for piece in found.pieces(Detail.VARIABLES, told.append)] == [5, 5, 2] == told
    assert exported(run) == whole


def test_what_is_not_finite_is_read_as_that(results: Path) -> None:
    def broken(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(grad_norm=[np.inf, np.nan, *frame["grad_norm"][2:]])

    frame = table(write_steps(store_telling(results), broken))
    found = values(frame, "step", "gradient_norm_before_clipping")
    assert found[0] == np.inf
    assert np.isnan(found[1])


def test_an_older_run_lacks_its_updates_only(results: Path) -> None:
    frame = table(store_older(results))
    assert values(frame, "step", "update_norm") == []
    assert len(values(frame, "step", "gradient_norm_after_clipping")) == 12


def test_a_recorded_run_has_the_steps_that_it_recorded(tmp_path: Path) -> None:
    frame = table(record(tmp_path / "mine" / "seed-0"))
    steps = frame[(frame["per"] == "step") & (frame["quantity"] == "update_norm")]
    assert steps["step"].tolist() == list(range(5, 41, 5))
    assert steps["epoch"].tolist() == [1] * 4 + [2] * 4
    assert values(frame, "epoch", "loss") == [1.5, 0.75]
    assert not frame["quantity"].str.startswith("val_").any()
    assert values(frame, "step", "gradient_norm_before_clipping", "dense/bias") == [4, 8, 12, 16] * 2


def test_a_recording_that_goes_on_is_exported_as_far_as_it_goes(tmp_path: Path) -> None:
    run = record(tmp_path / "mine" / "seed-0", finish=False)
    with open(run.steps_path, "a") as file:
        file.write("45,1.2")
    found, warnings = exports.read([run], Detail.STEPS)
    assert [warning.partition(": ")[2] for warning in warnings] == ["running, not finished: exported as far as it goes"]
    frame = pd.read_csv(io.StringIO("".join(exports.csv_pieces(found, Detail.STEPS))))
    assert set(frame["per"]) == {"step"}
    assert frame["epoch"].isna().all()
    assert frame["step"].max() == 40


def test_a_packed_run_without_steps_has_its_epochs(results: Path) -> None:
    for seed in range(2):
        store_run(results, "none", seed, [2.0, 1.0])
    packing.pack(results)
    packing.remove_packed(results)
    for path in results.rglob("steps.csv"):
        path.unlink()
    found, warnings = exports.read(runs(results), Detail.VARIABLES)
    where = results / "none" / "seed-0"
    assert warnings == [f"without steps.csv only epochs are exported: 2 runs, such as {where}"]
    assert "".join(exports.csv_pieces(found, Detail.VARIABLES)).count("\n") == 1 + 2 * 2 * 7
    assert exports.read(runs(results), Detail.EPOCHS)[1] == []


def test_what_can_t_be_read_is_left_out_and_told(results: Path) -> None:
    whole, edited, cut = (store_run(results, "none", seed, [2.0, 1.0]) for seed in range(3))
    edited.metrics_path.write_text(edited.metrics_path.read_text().replace("2.0", "2.5"))
    cut.steps_path.write_text("\n".join(cut.steps_path.read_text().splitlines()[:-1]) + "\n")
    found, warnings = exports.read(runs(results), Detail.STEPS)
    assert [(run.directory.seed, run.rows) for run in found] == [(whole.seed, 8), (cut.seed, 0)]
    assert warnings[0].startswith(f"left out: {edited.metrics_path}: was changed")
    assert warnings[1].startswith(f"steps left out: {cut.steps_path}: holds 7 whole steps")
    with pytest.raises(ExportError, match=r"no run to export\.\nleft out"):
        exports.read([edited], Detail.STEPS)


def test_steps_out_of_order_leave_no_half_table(results: Path, tmp_path: Path) -> None:
    run = write_steps(store_telling(results), lambda frame: frame.iloc[::-1])
    found, _ = exports.read([run], Detail.STEPS)
    with pytest.raises(StoreError, match="not every step from 1 on is there"):
        exports.write_csv(tmp_path / "runs.csv", exports.csv_pieces(found, Detail.STEPS))
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_column_of_a_newer_gradclip_keeps_its_name(results: Path) -> None:
    run = write_steps(store_telling(results), lambda frame: frame.assign(novel=frame["step"] / 2))
    assert values(table(run), "step", "novel") == [step / 2 for step in range(1, 13)]


def test_only_a_file_is_written_over_and_only_when_asked(tmp_path: Path) -> None:
    exports.require_free(tmp_path / "new.csv", force=False)
    (tmp_path / "old.csv").write_text("mine")
    with pytest.raises(ExportError, match="is there already; --force"):
        exports.require_free(tmp_path / "old.csv", force=False)
    exports.require_free(tmp_path / "old.csv", force=True)
    for other in (tmp_path, Path("/dev/null")):
        with pytest.raises(ExportError, match="not a file that a table can take the place of"):
            exports.require_free(other, force=True)


def test_a_run_that_says_another_seed_is_left_out(results: Path) -> None:
    run = store_run(results, "none", 0, [2.0])
    run.metadata_path.write_text(json.dumps(json.loads(run.metadata_path.read_text()) | {"seed": 1}))
    with pytest.raises(ExportError, match="whose seed is it"):
        exports.read([run], Detail.EPOCHS)
