"""`gradclip_cli.load`: stored runs as tables, each read once it is asked for, and what can't be read is told."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pandas as pd
import pytest
from conftest import call, store_run

import gradclip_cli
from gradclip_cli.errors import ConfigError, GradclipError, ReportError, StoreError
from gradclip_cli.runs.store import RunDirectory


def test_the_table_has_what_list_tells(two_arms: Path) -> None:
    runs = gradclip_cli.load(two_arms)
    told = json.loads(call("list", "--json", "--results", str(two_arms)).stdout)["runs"]
    assert runs.table[["arm", "seed", "path", "status"]].to_dict("records") == told
    kinds = {"arm": "str", "seed": "int64", "status": "str", "epochs": "Int64", "steps": "Int64", "seconds": "float64"}
    found = runs.table.dtypes.astype(str).to_dict()
    assert {name: found.pop(name) for name in kinds} == kinds
    assert found["path"] == "str"
    assert all(found[name].startswith("datetime64") for name in ("started", "finished"))


def test_epochs_and_configs_are_those_that_show_tells(two_arms: Path) -> None:
    runs = gradclip_cli.load(str(two_arms), arms="clipvalue")
    told = json.loads(call("show", "clipvalue:1", "--json", "--results", str(two_arms)).stdout)
    epochs = runs.epochs
    assert list(epochs)[:4] == ["arm", "seed", "epoch", "loss"]
    assert epochs[epochs["seed"] == 1].drop(columns=["arm", "seed"]).to_dict("records") == told["metrics"]
    run = runs["clipvalue", 1]
    assert run.metadata == told["run"]
    assert run.config == json.loads(json.dumps(told["config"]))
    assert runs.configs["clipping.mode"].tolist() == ["clipvalue"] * 3
    assert runs.configs["training.seed"].tolist() == runs.configs["seed"].tolist() == [0, 1, 2]
    assert (run.health, run.sentences[-1]) == (told["health"]["word"], f"diagnosis: {told['health']['word']}")
    assert told["clipping"] in run.sentences[2]


def test_steps_are_a_row_a_step_of_each_run(two_arms: Path) -> None:
    runs = gradclip_cli.load(two_arms, seeds=[0, 2])
    steps = runs.steps()
    assert len(steps) == 4 * 12
    assert list(steps) == [
        *("arm", "seed", "step", "loss", "penalty", "correct", "grad_norm", "applied_norm", "clipped", "update_norm")
    ]
    assert steps["clipped"].dtype == bool
    assert steps.groupby(["arm", "seed"])["step"].apply(list).tolist() == [list(range(1, 13))] * 4
    few = runs.steps(["clipped", "loss"])
    assert list(few) == ["arm", "seed", "step", "clipped", "loss"]
    pd.testing.assert_frame_equal(few, steps[list(few)])
    pd.testing.assert_frame_equal(runs[0].steps(["loss"]), steps.loc[:11, ["step", "loss"]])


def test_variables_are_a_row_a_step_and_variable(two_arms: Path) -> None:
    variables = gradclip_cli.load(two_arms, arms=["none:1"]).variables()
    assert list(variables) == ["arm", "seed", "step", "variable", "norm", "max_abs", "applied_norm", "applied_max_abs"]
    assert variables["variable"].unique().tolist() == ["lstm/kernel"]
    assert variables["step"].tolist() == list(range(1, 13))
    assert (variables[["norm", "applied_max_abs"]] == 1).all(axis=None)


def test_nothing_is_read_before_it_is_asked_for(two_arms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: RunDirectory, *given: object) -> None:
        raise AssertionError("read")

    for name in ("metadata", "config", "metrics", "steps"):
        monkeypatch.setattr(RunDirectory, name, read)
    runs = gradclip_cli.load(two_arms)
    assert [(run.arm, run.seed) for run in runs] == [(arm, seed) for arm in ("clipvalue", "none") for seed in range(3)]
    with pytest.raises(AssertionError, match="read"):
        _ = runs.epochs


def test_a_run_that_is_not_finished_or_broken_is_left_out_and_told(two_arms: Path) -> None:
    store_run(two_arms, "none", 3, [2.0], status="interrupted")
    (two_arms / "none" / "seed-2" / "run.json").write_text("{")
    runs = gradclip_cli.load(two_arms, arms="none")
    assert runs.table["status"].tolist() == ["complete", "complete", "unreadable", "interrupted"]
    assert runs.table["epochs"].isna().tolist() == [False, False, True, False]
    with pytest.warns(UserWarning, match="left out: 2 runs, the first since .*seed-2") as told:
        epochs = runs.epochs
    assert epochs["seed"].unique().tolist() == [0, 1]
    assert told[0].filename == __file__
    with pytest.raises(StoreError, match=r"interrupted, not finished; run it again"):
        _ = runs["none", 3].epochs


def test_packed_runs_are_as_others_are_and_missing_steps_say_what_writes_them(two_arms: Path) -> None:
    runs = gradclip_cli.load(two_arms)
    epochs, steps, configs = runs.epochs, runs.steps(), runs.configs
    assert call("pack", str(two_arms), "--steps", "--remove").exit_code == 0
    packed = gradclip_cli.load(two_arms)
    for whole, again in ((epochs, packed.epochs), (steps, packed.steps()), (configs, packed.configs)):
        pd.testing.assert_frame_equal(whole, again)
    assert call("unpack", str(two_arms)).exit_code == 0
    for path in two_arms.glob("*/seed-*/steps.csv"):
        path.unlink()
    assert call("pack", str(two_arms), "--remove").exit_code == 0
    without = gradclip_cli.load(two_arms)
    with pytest.raises(StoreError, match=r"none can be read: 6 runs.* gradclip unpack .* gradclip run --force writes it again"):
        without.steps()
    for ask in (without[0].variables, without[0].figure):
        with pytest.raises(StoreError, match="is not in its pack, so there are no steps to read"):
            ask()


def test_a_column_that_no_step_has_is_told_with_those_that_there_are(two_arms: Path) -> None:
    with pytest.raises(ReportError, match=r"has no lss in its steps. There are: step, loss, .*norm/lstm/kernel"):
        gradclip_cli.load(two_arms).steps(["lss"])


@pytest.mark.parametrize(
    ("given", "kind", "told"),
    [
        ({"arms": "nnone"}, ReportError, "did you mean 'none'?"),
        ({"seeds": [7, 9]}, ReportError, "has a seed asked for; theirs go from 0 to 2"),
        ({"seeds": 10}, ConfigError, "seeds=10: give numbers"),
        ({"seeds": ["a"]}, ConfigError, "give numbers"),
        ({"seeds": "a-b"}, ConfigError, "seeds a-b: expected a count"),
    ],
)
def test_what_is_not_there_is_told_with_what_to_do(
    two_arms: Path, given: dict[str, object], kind: type[GradclipError], told: str
) -> None:
    with pytest.raises(kind) as caught:
        gradclip_cli.load(two_arms, **given)
    assert told in str(caught.value)


def test_a_folder_that_is_not_there_or_empty_is_told(tmp_path: Path, two_arms: Path) -> None:
    with pytest.raises(ReportError, match=r"there is no folder .*reslts; did you mean .*results\?"):
        gradclip_cli.load(tmp_path / "reslts")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReportError, match="Train some first: gradclip run"):
        gradclip_cli.load(tmp_path / "empty")
    with pytest.raises(KeyError, match="none of these 6 runs"):
        gradclip_cli.load(two_arms)["none", 9]


def test_runs_show_themselves_and_names_are_text_there(results: Path) -> None:
    store_run(results, "plain", 0, [2.0, 1.0])
    (results / "plain").rename(results / "a<b>&\x1b")
    for seed in range(30):
        store_run(results, "none", seed, [2.0, 1.0])
    runs = gradclip_cli.load(results)
    assert "a&lt;b&gt;&amp;" in runs._repr_html_()
    assert "<b>&" not in runs._repr_html_()
    assert "\x1b" not in repr(runs) + str(runs[0])
    assert repr(runs).splitlines()[-1] == "31 runs"
    assert len(repr(runs).splitlines()) < 25
    assert repr(runs["none", 3]) == "none/seed-3: complete"


def test_runs_of_other_metrics_stand_in_one_table(two_arms: Path) -> None:
    store_run(two_arms, "mae", 0, [2.0, 1.0], scores={"mae": (False, lambda loss: loss / 2)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        epochs = gradclip_cli.load(two_arms).epochs
    assert epochs.loc[epochs["arm"] == "mae", "accuracy"].isna().all()
    assert epochs.loc[epochs["arm"] == "none", "val_mae"].isna().all()
    assert epochs.loc[epochs["arm"] == "mae", "mae"].tolist() == [1.0, 0.5]
