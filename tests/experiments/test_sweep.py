"""`sweep` from end to end on the sample, and what it makes of made-up runs: best columns, edges, comparisons, and why not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from conftest import call, options, store_run

from gradclip_cli import plots
from gradclip_cli.config import loading, sweeps
from gradclip_cli.config.sweeps import Sweep
from gradclip_cli.errors import ConflictError, ReportError
from gradclip_cli.experiments import sweep as experiment
from gradclip_cli.experiments import sweep_report
from gradclip_cli.runs import one
from gradclip_cli.runs.loop import Setup
from gradclip_cli.runs.one import Workshop
from gradclip_cli.runs.store import runs
from gradclip_cli.runs.tally import Outcome

BASE = "base: {extends: none, data: {holdout: 10000}}\n"
RULES = "[{mode: none}, {mode: clipnorm, threshold: 1}]"
GRID = f"grid: {{clipping: {RULES}, optimizer.learning_rate: [0.1, 1, 10]}}\nseeds: 3\nfresh_seeds: 6\n"

# A linear recurrent net on the sample: unclipped, the highest rate diverges within a few steps.
TINY = f"""
name: tiny
base:
  extends: explode/linear
  data: {{subset: sample, holdout: 500}}
  model: {{units: 4}}
  engine: {{jit: false}}
  training: {{epochs: 2, steps_per_epoch: 5}}
grid:
  clipping: {RULES}
  optimizer.learning_rate: [0.003, 0.01, 10]
seeds: 2
fresh_seeds: 3
"""
DIVERGING = "none+optimizer.learning_rate=10"


pytestmark = pytest.mark.usefixtures("engines_built_once", "unsynced")


@pytest.fixture(scope="module")
def unsynced() -> Iterator[None]:
    """Nothing here crashes, and many runs are stored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweeps") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def done(tiny: Path) -> tuple[Result, Path]:
    """A sweep that ran through, and its folder: to be read only."""
    folder = tiny.parent / "done"
    return sweep_at(tiny, folder), folder


def sweep_at(path: Path, folder: Path, *others: str) -> Result:
    return call("sweep", str(path), "--results", str(folder), "--jobs", "1", *others)


def statuses(folder: Path) -> dict[str, str]:
    return {f"{run.arm}/seed-{run.seed}": run.status() for run in runs(folder)}


def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "save", lambda figure, paths: None)


# From end to end.


@pytest.mark.trains
def test_dry_run_tells_the_plan_and_writes_nothing(tiny: Path, results: Path) -> None:
    told = sweep_at(tiny, results, "--dry-run")
    assert told.exit_code == 0, told.output
    assert "tiny: 2 clipping x 3 optimizer.learning_rate = 6 arms, 2 seeds each" in told.stderr
    assert "then each row's best with 3 fresh seeds" in told.stderr
    assert "12 of 12 runs to train: about" in told.stderr
    assert "ms here" in told.stderr
    assert told.stdout.count("\n") == 12
    assert f"train    {results}/{DIVERGING}/seed-1  (new)" in told.stdout
    assert not results.exists()
    as_json = json.loads(sweep_at(tiny, results, "--dry-run", "--json").stdout)
    assert {run["action"] for run in as_json["runs"]} == {"train"}
    assert len(as_json["runs"]) == 12


@pytest.mark.trains
def test_the_plan_stands_before_the_first_run_and_the_tally_names_who_diverged(done: tuple[Result, Path]) -> None:
    told, folder = done
    assert told.exit_code == 0, told.output
    assert told.stderr.index("6 arms, 2 seeds each") < told.stderr.index("[1/12]")
    assert "12 runs: 10 complete, 2 diverged.\ndiverged: " in told.stderr
    assert f"diverged: {DIVERGING} seed 0, {DIVERGING} seed 1\n" in told.stderr
    assert f"report: {folder / 'report.md'}" in told.stderr
    last = told.stdout.splitlines()[-1]
    assert last.startswith("At the best: clipnorm")
    assert last.endswith(f": exploratory (differs in more than clipping). 18 runs, diverged: 2 of {DIVERGING}.")
    assert sorted(set(statuses(folder).values())) == ["complete", "diverged"]
    assert [name for name, status in statuses(folder).items() if status == "diverged"] == [
        f"{DIVERGING}/seed-0", f"{DIVERGING}/seed-1",
    ]  # fmt: skip


@pytest.mark.trains
def test_what_was_measured_at_first_tells_the_second_estimate_too(done: tuple[Result, Path]) -> None:
    lines = done[0].stderr.splitlines()
    (before,) = (line.partition(": ")[2] for line in lines if line.startswith("Then, with fresh seeds"))
    (after,) = (line.partition(": ")[2] for line in lines if line.startswith("At the best of each row, with fresh seeds"))
    assert before == after


@pytest.mark.trains
def test_the_map_says_what_the_runs_csvs_say(done: tuple[Result, Path]) -> None:
    folder = done[1]
    table = pd.read_csv(folder / "tiny.csv", dtype={"optimizer.learning_rate": str})
    assert list(table["row"]) == ["none"] * 3 + ["clipnorm 1"] * 3
    assert list(table["optimizer.learning_rate"]) == ["0.003", "0.01", "10"] * 2
    for cell in table.to_dict("records"):
        arm = folder / str(cell["arm"])
        ended = [json.loads((arm / f"seed-{seed}" / "run.json").read_text()) for seed in (0, 1)]
        scores = [
            0.1
            if run["status"] == "diverged"
            else pd.read_csv(arm / f"seed-{run['seed']}" / "metrics.csv")["val_accuracy"].iloc[-1]
            for run in ended
        ]
        assert {run["evaluation_split"] for run in ended} == {"holdout"}
        assert cell["holdout_accuracy"] == pytest.approx(np.mean(scores))
        assert cell["holdout_accuracy_std"] == pytest.approx(np.std(scores, ddof=1))
        assert (cell["runs"], cell["diverged"]) == (2, sum(run["status"] == "diverged" for run in ended))
    for _, row in table.groupby("row"):
        assert list(row["best"]) == list(row["holdout_accuracy"] == row["holdout_accuracy"].max())
        assert list(row["at_edge"]) == list(row["best"] & row["optimizer.learning_rate"].isin(["0.003", "10"]))


@pytest.mark.trains
def test_the_best_ones_are_trained_on_all_images_with_seeds_that_the_grid_never_had(
    done: tuple[Result, Path], tiny: Path
) -> None:
    folder = done[1]
    table = pd.read_csv(folder / "tiny.csv")
    best = list(table.loc[table["best"], "arm"])
    assert len(best) == 2
    assert set(statuses(folder / "best")) == {f"{arm}/seed-{seed}" for arm in best for seed in (2, 3, 4)}
    grid = {cell.config.name: cell.config for cell in sweeps.load(str(tiny)).cells}
    for run in runs(folder / "best"):
        changed = {key for key, *_ in loading.differences(grid[run.arm], run.config())}
        assert changed == {"data.holdout", "training.seed"}
        assert run.config().data.holdout == 0
        assert run.metadata()["evaluation_split"] == "test"


@pytest.mark.trains
def test_its_files_agree(done: tuple[Result, Path]) -> None:
    told, folder = done
    content = json.loads((folder / "sweep.json").read_text(), parse_constant=pytest.fail)
    table = pd.read_csv(folder / "tiny.csv")
    assert [cell["arm"] for cell in content["cells"]] == list(table["arm"])
    assert content["chosen_on"] == "holdout"
    assert (content["seeds"], content["fresh_seeds"]) == ([0, 1], [2, 3, 4])
    assert content["axes"][1] == {"key": "optimizer.learning_rate", "values": ["0.003", "0.01", "10"]}
    compared = json.loads((folder / content["comparison"]).read_text())
    assert [arm["arm"] for arm in compared["arms"]] == list(table.loc[table["best"], "arm"])
    assert {arm["config"]["data"]["holdout"] for arm in compared["arms"]} == {0}
    assert all(arm["seeds"] == [2, 3, 4] for arm in compared["arms"])
    looks = json.loads((folder / "best" / "looks.json").read_text())
    assert looks["first_compared"] == {arm["arm"]: [2, 3, 4] for arm in compared["arms"]}
    assert [(look["metric"], look["seeds"]) for look in looks["looks"]] == [("val_accuracy", [2, 3, 4])]
    assert (content["plan"]["file"], content["plan"]["changes"], compared["exploratory"]) == ("plan.json", [], [])
    page = (folder / "report.md").read_text()
    for sentence in [*content["sentences"], content["scope"]]:
        assert sentence in page
        assert sentence in told.stdout
    assert (folder / "tiny.png").stat().st_size > 10_000


@pytest.mark.trains
def test_given_again_it_trains_nothing_and_writes_the_same(
    done: tuple[Result, Path], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, folder = done
    monkeypatch.setattr(Workshop, "train", lambda *anything: pytest.fail("a finished run was trained again"))
    files = {name: (folder / name).read_bytes() for name in ("tiny.csv", "sweep.json", "report.md", "best/comparison.json")}
    without_pictures(monkeypatch)
    again = sweep_at(tiny, folder)
    assert again.exit_code == 0, again.output
    assert again.stdout == first.stdout
    assert "All 12 runs are finished." in again.stderr
    assert "12 runs: 10 complete, 2 diverged." in again.stderr
    assert {name: (folder / name).read_bytes() for name in files} == files


@pytest.mark.trains
def test_quiet_says_results_and_what_went_wrong_only(
    done: tuple[Result, Path], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, folder = done
    without_pictures(monkeypatch)
    quiet = call("-q", "sweep", str(tiny), "--results", str(folder))
    assert quiet.stdout == first.stdout
    assert quiet.stderr == ""


@pytest.mark.trains
def test_json_is_the_file_s(done: tuple[Result, Path], tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_pictures(monkeypatch)
    told = sweep_at(tiny, done[1], "--json")
    assert told.stdout == (done[1] / "sweep.json").read_text()


@pytest.mark.trains
def test_interrupted_it_goes_on_with_what_is_missing(tiny: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, trained, most = Workshop.train, [], 3

    def counted(workshop: Workshop, task: Any, *others: Any) -> Any:
        if len(trained) == most:
            raise KeyboardInterrupt
        trained.append(task.directory)
        return train(workshop, task, *others)

    monkeypatch.setattr(Workshop, "train", counted)
    first = sweep_at(tiny, results)
    assert first.exit_code == 130
    assert len(statuses(results)) == 3
    assert not (results / "tiny.csv").exists()
    plan = json.loads((results / "plan.json").read_text())
    assert (plan["kind"], plan["seeds"], plan["fresh_seeds"], plan["fresh_arms"]) == (
        "sweep",
        [0, 1],
        [2, 3, 4],
        "each row's best",
    )
    assert len(plan["arms"]) == 6
    assert [(test["arm"], test["baseline"]) for test in plan["tests"]] == [("the best of clipnorm 1", "the best of none")]
    most = 100
    without_pictures(monkeypatch)
    second = sweep_at(tiny, results)
    assert second.exit_code == 0, second.output
    assert "9 of 12 runs to train" in second.stderr
    assert len(trained) == len(set(trained)) == 12 + 6
    assert json.loads((results / "plan.json").read_text()) == plan
    assert "Nothing of it had been seen before. As planned." in (results / "report.md").read_text()


@pytest.mark.trains
def test_a_run_that_fails_is_named_and_the_others_are_finished(
    tiny: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = one.train

    def failing(setup: Setup, *others: Any, **more: Any) -> Outcome:
        if (setup.config.name, setup.config.training.seed) == ("clipnorm-1+optimizer.learning_rate=0.01", 0):
            raise OSError(28, "No space left on device")
        return train(setup, *others, **more)

    without_pictures(monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(one, "train", failing)
        told = sweep_at(tiny, results)
    assert told.exit_code == 1
    assert "12 runs: 9 complete, 2 diverged, 1 failed." in told.stderr
    assert "\nfailed: clipnorm-1+optimizer.learning_rate=0.01 seed 0\n" in told.stderr
    assert "1 of 12 runs failed; the same command trains them again, then reports" in told.stderr
    assert "No space left on device" in told.stderr
    assert sorted(statuses(results).values()) == ["complete"] * 9 + ["diverged"] * 2 + ["failed"]
    assert not (results / "tiny.csv").exists()
    again = sweep_at(tiny, results)
    assert again.exit_code == 0, again.output
    assert "1 of 12 runs to train" in again.stderr


@pytest.mark.trains
def test_a_changed_sweep_never_mixes_with_the_old_one_s_runs(done: tuple[Result, Path], tiny: Path, tmp_path: Path) -> None:
    changed = tmp_path / "tiny.yaml"
    changed.write_text(TINY.replace("steps_per_epoch: 5", "steps_per_epoch: 6"))
    refused = sweep_at(changed, done[1])
    assert refused.exit_code == 1
    assert "training.steps_per_epoch: 5 there, 6 here" in refused.stderr
    assert ", and 11 more. Give the changed sweep another name, or another folder with --results" in refused.stderr
    assert refused.stderr.count("--force") == 1
    assert refused.stderr.count("\n") <= 3


@pytest.mark.trains
def test_a_copied_file_trains_nothing_anew(done: tuple[Result, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workshop, "train", lambda *anything: pytest.fail("a finished run was trained again"))
    without_pictures(monkeypatch)
    (tmp_path / "copy.yaml").write_text(TINY)
    again = sweep_at(tmp_path / "copy.yaml", done[1])
    assert again.exit_code == 0, again.output
    assert again.stdout == done[0].stdout


@pytest.mark.trains
def test_force_trains_again_what_is_finished(tiny: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_pictures(monkeypatch)
    short = options("training.epochs=1", "training.steps_per_epoch=2")
    first = sweep_at(tiny, results, *short)
    assert first.exit_code == 0, first.output
    csvs = {run.path: run.steps_path.read_bytes() for folder in (results, results / "best") for run in runs(folder)}
    trained: list[Path] = []
    train = Workshop.train

    def counted(workshop: Workshop, task: Any, *others: Any) -> Any:
        trained.append(task.directory)
        return train(workshop, task, *others)

    monkeypatch.setattr(Workshop, "train", counted)
    again = sweep_at(tiny, results, *short, "--force")
    assert again.exit_code == 0, again.output
    assert set(trained) == set(csvs)
    assert again.stdout == first.stdout
    assert {path: (path / "steps.csv").read_bytes() for path in csvs} == csvs
    assert "12 of 12 runs to train" in sweep_at(tiny, results, "--force", "--dry-run").stderr  # another config: replaced


def test_settings_change_the_base_and_the_sweep_s_folder(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = call("sweep", str(tiny), "--set", "training.epochs=1", "--dry-run", "--json")
    assert told.exit_code == 0, told.output
    assert {Path(run["path"]).parent.parent for run in json.loads(told.stdout)["runs"]} == {
        Path("results/tiny+training.epochs=1")
    }
    refused = call("sweep", str(tiny), "--set", "optimizer.learning_rate=1")
    assert refused.exit_code == 2
    assert "--set optimizer.learning_rate=1 contradicts the grid" in refused.stderr


@pytest.mark.trains
def test_the_plan_says_how_many_seeds_a_verdict_takes(tiny: Path, tmp_path: Path, results: Path) -> None:
    told = sweep_at(tiny, results, "--dry-run")
    assert "A verdict on 1 comparison takes at least 6 fresh seeds; with 3 it will be exploratory.\n" in told.stderr
    (tmp_path / "more.yaml").write_text(TINY.replace("fresh_seeds: 3", "fresh_seeds: 6"))
    enough = sweep_at(tmp_path / "more.yaml", results, "--dry-run")
    assert "A verdict on 1 comparison takes at least 6 fresh seeds; there are 6.\n" in enough.stderr
    (tmp_path / "none.yaml").write_text(TINY.replace("fresh_seeds: 3", "fresh_seeds: 0"))
    assert "verdict" not in sweep_at(tmp_path / "none.yaml", results, "--dry-run").stderr


@pytest.mark.trains
def test_what_an_axis_resets_stands_in_plan_report_and_json(load: Callable[[str], Sweep], results: Path) -> None:
    text = BASE.replace("}}", "}, optimizer: {learning_rate: 0.5}}") + "grid: {optimizer.name: [sgd, adam]}\nseeds: 2\n"
    sweep = load(text)
    reset = "optimizer.name=adam resets optimizer.learning_rate to adam's 0.001 (was 0.5)"
    path = results.parent / "mine.yaml"
    planned = sweep_at(path, results, "--dry-run", "--json")
    assert reset in planned.stderr
    assert json.loads(planned.stdout)["resets"] == [reset]
    store_grid(sweep, results, [0.9, 0.5])
    result = experiment.read(sweep, results)
    assert reset in sweep_report.to_markdown(result)
    assert json.loads(sweep_report.to_json(result))["resets"] == [reset]


@pytest.mark.trains
def test_the_report_says_what_was_trained_near_the_top(done: tuple[Result, Path]) -> None:
    page = (done[1] / "report.md").read_text()
    top = page.partition("## ")[0]
    for fact in (
        "- model: simple_rnn, units 4, linear\n",
        "fashion_mnist, subset sample, batch size 32, holdout 500",
        "epochs 2, steps per epoch 5",
        "sgd, learning rate swept",
        "- clipping: swept\n",
        "clipping: none, clipnorm 1; learning rate: 0.003, 0.01, 10",
        "0-1 for the grid, 2-4 fresh for the comparison",
        "engine.jit false",
        "tiny.png",
    ):
        assert fact in top, fact
    assert json.loads((done[1] / "sweep.json").read_text())["facts"]["optimizer"] == "sgd, learning rate swept"


def test_what_follows_an_axis_is_said_with_its_values(load: Callable[[str], Sweep]) -> None:
    facts = sweep_report.facts(
        load("base: clipnorm\ngrid: {optimizer.name: [sgd, adam], training: [{epochs: 3}, {epochs: 4}]}\n")
    )
    assert facts["optimizer"] == "name swept, learning rate 0.01 or 0.001"
    assert facts["training"] == "epochs swept, steps per epoch 500"
    assert facts["clipping"] == "clipnorm 1"
    assert "further" not in facts


@pytest.mark.parametrize("name", loading.shipped_sweeps())
def test_the_map_is_named_after_the_sweep(name: str, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = sweeps.load(name)
    store_grid(sweep, results, [1.0 + index / 100 for index in range(len(sweep.cells))])
    drawn: list[Path] = []
    monkeypatch.setattr(plots, "save", lambda figure, paths: drawn.extend(paths))
    paths = sweep_report.write(experiment.read(sweep, results), results)
    assert drawn == [results / f"{name}.png", results / f"{name}.svg"]
    assert paths == [*drawn, *(results / file for file in (f"{name}.csv", "sweep.json", "report.md"))]
    assert f"]({name}.png)" in (results / "report.md").read_text()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("base: none\ngrid: {}\n", "mine.yaml:2:7: the grid is empty"),
        ("base: none\ngrid: {modle.units: [1]}\n", "mine.yaml:2:8: unknown key 'modle' in the config; did you mean 'model'?"),
        (
            "base: none\ngrid: {model.units: [1]}\nseeds: 50000\n",
            "50,000 runs, which is over 10,000; shorten the grid, or give --yes",
        ),
        ("base: none\n", "mine.yaml:1:1: missing key 'grid' in the sweep"),
    ],
)
def test_mistakes_exit_2_and_write_nothing(content: str, told: str, tmp_path: Path, results: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    ended = sweep_at(path, results)
    assert ended.exit_code == 2
    assert told in ended.stderr
    assert not ended.stdout
    assert not results.exists()


def test_a_sweep_that_is_not_there_exits_2(results: Path) -> None:
    ended = sweep_at(Path("stabilty"), results)
    assert ended.exit_code == 2
    assert "stabilty: no such sweep; did you mean 'stability'?" in ended.stderr


# What is made of made-up runs. `store_run` gives a final accuracy of 0.9 - loss / 3.


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Sweep]:
    def load(text: str) -> Sweep:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return sweeps.load(str(path))

    return load


def store_grid(sweep: Sweep, results: Path, losses: list[float | None], **changes: Any) -> None:
    """Store the grid's runs: a cell's last loss, or None where its runs diverged; seeds a little apart, in balance."""
    for cell, loss in zip(sweep.cells, losses, strict=True):
        for index, seed in enumerate(sweep.seeds):
            if loss is None:
                told = {"status": "diverged", "diverged": {"step": 4, "told": "x"}}
                store_run(results, cell.config.name, seed, [2.0], evaluation_split="holdout", **told, **changes)
            else:
                apart = 0.001 * (index - (len(sweep.seeds) - 1) / 2)
                store_run(results, cell.config.name, seed, [2.0, 1.5, loss + apart], **{"evaluation_split": "holdout", **changes})


def store_best(result: experiment.Result, results: Path, losses: list[float]) -> None:
    for best, loss in zip(experiment.best_configs(result), losses, strict=True):
        rule = json.dumps(best.clipping.model_dump())
        for seed in result.sweep.fresh_seeds:
            noise = 0.01 * np.sin(seed)
            store_run(results / "best", best.name, seed, [2.0, 1.5, loss + noise], settings=[f"clipping={rule}"])


def test_the_best_column_is_that_of_the_best_mean(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + GRID)
    store_grid(sweep, results, [1.0, 0.6, 0.9, 0.8, 0.7, 0.3])
    result = experiment.read(sweep, results)
    assert [row.best for row in result.rows] == [1, 2]
    assert [row.at_edge for row in result.rows] == [False, True]
    assert result.rows[0].scores == pytest.approx([100 * (0.9 - loss / 3) for loss in (1.0, 0.6, 0.9)])
    table = sweep_report.table(result)
    assert list(table["best"]) == [False, True, False, False, False, True]
    assert list(table["at_edge"]) == [False, False, False, False, False, True]
    assert table["holdout_accuracy_std"].to_numpy() == pytest.approx(0.001 / 3)
    assert sweep_report.best_rows(result) == [
        ["none", "learning rate 1", "70.0", "0%"],
        ["clipnorm 1", "learning rate 10 (at the edge)", "80.0", "0%"],
    ]
    assert "At the grid's edge, so that a better one may lie beyond: clipnorm 1." in sweep_report.scope(result)
    assert "No learning rate was tried between 0.1 and 1 or 1 and 10." in sweep_report.scope(result)
    assert "With 3 seeds another choice may be as good." in sweep_report.scope(result)


def test_a_diverged_run_counts_as_chance_so_that_luck_does_not_pay(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + GRID)
    store_grid(sweep, results, [1.2, 1.0, 1.1, 1.2, 1.0, 1.1])
    lucky = sweep.cells[2].config.name
    for seed, status in zip(sweep.seeds, ("complete", "diverged", "diverged"), strict=True):
        shutil.rmtree(results / lucky / f"seed-{seed}")
        store_run(
            results, lucky, seed, [2.0, 1.5, 0.0], status=status, evaluation_split="holdout", diverged={"step": 5, "told": "x"}
        )
    row = experiment.read(sweep, results).rows[0]
    assert row.best == 1
    assert row.scores[2] == pytest.approx(100 * (0.9 + 0.1 + 0.1) / 3)
    assert row.diverged == pytest.approx([0, 0, 2 / 3])


@pytest.mark.parametrize("seeds", [1, 3, 6])
def test_a_row_whose_runs_all_diverged_has_no_best(seeds: int, load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + GRID.replace("seeds: 3", f"seeds: {seeds}"))
    store_grid(sweep, results, [None, None, None, 0.9, 0.8, None])
    result = experiment.read(sweep, results)
    assert [row.best for row in result.rows] == [None, 1]
    assert not result.rows[0].at_edge
    assert sweep_report.best_rows(result)[0] == ["none", "nothing was better than chance", "", ""]
    assert experiment.plan_best(result, results) == []  # one row alone has nothing to be compared with
    assert experiment.compare_best(result, results).best is None
    assert "Fewer than two rows were better than chance, so nothing was compared." in sweep_report.scope(result)
    assert list(sweep_report.table(result)["diverged"]) == [seeds] * 3 + [0, 0, seeds]
    assert "chance" in sweep_report.to_markdown(result)


def test_of_equals_the_first_is_chosen(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + GRID)
    store_grid(sweep, results, [1.0, 0.5, 0.5, 0.5, 0.5, 0.5])
    assert [row.best for row in experiment.read(sweep, results).rows] == [1, 0]


def test_on_how_many_steps_clipping_acted_stands_with_each_comparison(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + GRID)
    store_grid(sweep, results, [1.0, 0.6, 0.9, 0.8, 0.7, 0.3])
    result = experiment.read(sweep, results)
    assert sweep_report.sentences(result) == []
    store_best(result, results, [0.5, 0.4])
    compared = experiment.compare_best(result, results)
    (told,) = sweep_report.sentences(compared)
    assert told.endswith(" Clipping acted on 25.0% of the steps.")
    assert told in sweep_report.to_markdown(compared).replace("\\", "")
    assert json.loads(sweep_report.to_json(compared))["sentences"] == [told]


def test_without_a_holdout_nothing_is_compared_and_it_is_said_why(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load("base: none\n" + GRID)
    store_grid(sweep, results, [1.0, 0.6, 0.9, 0.8, 0.7, 0.3], evaluation_split="test")
    result = experiment.read(sweep, results)
    assert experiment.plan_best(result, results) == []
    told = sweep_report.scope(experiment.compare_best(result, results))
    assert "chosen by mean test accuracy" in told
    assert "set data.holdout in the base" in told
    assert "test_accuracy" in sweep_report.table(result)


@pytest.mark.parametrize(
    ("text", "losses", "told"),
    [
        (
            BASE + GRID.replace("fresh_seeds: 6", "fresh_seeds: 0"),
            [1.0, 0.6, 0.9] * 2,
            "Without fresh seeds nothing was compared",
        ),
        (
            BASE + "grid: {optimizer.learning_rate: [0.1, 1, 10]}\n",
            [1.0, 0.6, 0.9],
            "There is one row only, so nothing was compared.",
        ),
    ],
)
def test_why_nothing_is_compared(text: str, losses: list[float], told: str, load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(text)
    store_grid(sweep, results, losses)
    result = experiment.read(sweep, results)
    assert experiment.plan_best(result, results) == []
    assert experiment.compare_best(result, results).best is None
    assert told in sweep_report.scope(result)
    content = json.loads(sweep_report.to_json(result), parse_constant=pytest.fail)
    assert (content["comparison"], content["sentences"]) == (None, [])


def test_one_row_is_named_after_the_sweep(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + "grid: {optimizer.learning_rate: [0.1, 1, 10]}\n")
    store_grid(sweep, results, [1.0, 0.6, 0.9])
    (row,) = experiment.read(sweep, results).rows
    assert (row.label, row.best) == ("mine", 1)


def test_one_column_is_no_edge_and_no_choice(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + GRID.replace("[0.1, 1, 10]", "[0.1]"))
    store_grid(sweep, results, [0.9, 0.5])
    result = experiment.read(sweep, results)
    assert [(row.best, row.at_edge) for row in result.rows] == [(0, False), (0, False)]
    assert sweep_report.scope(result).startswith("There is one learning rate only, so none was chosen")
    assert len(experiment.best_configs(result)) == 2
    sweep_report.write(result, results)
    assert (results / "mine.png").stat().st_size > 5_000


def test_columns_that_are_no_numbers_have_no_edge(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + f"grid: {{model.cell: [lstm, gru, simple_rnn], clipping: {RULES}}}\nseeds: 2\n")
    assert sweep.columns.key == "model.cell"
    store_grid(sweep, results, [0.9, 0.5, 0.8, 0.7, 1.0, 1.1])
    result = experiment.read(sweep, results)
    assert [row.label for row in result.rows] == ["none", "clipnorm 1"]
    assert [row.best for row in result.rows] == [1, 0]  # cells are lstm none, lstm clipnorm, gru none, ...
    assert not any(row.at_edge for row in result.rows)
    assert "edge" not in sweep_report.scope(result)
    assert "Each row's best cell was chosen" in sweep_report.scope(result)
    assert "was tried between" not in sweep_report.scope(result)


def test_an_edge_is_one_whatever_the_order_in_the_file(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + GRID.replace("[0.1, 1, 10]", "[1, 10, 0.1]"))
    assert [cell.config.optimizer.learning_rate for cell in sweep.cells[:3]] == [0.1, 1, 10]
    store_grid(sweep, results, [1.0, 0.6, 0.9, 0.2, 0.7, 0.3])
    assert [row.at_edge for row in experiment.read(sweep, results).rows] == [False, True]


def test_the_comparison_is_on_the_fresh_seeds_alone(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + GRID)
    store_grid(sweep, results, [1.0, 0.6, 0.9, 0.8, 0.7, 0.3])
    chosen = experiment.read(sweep, results)
    planned = experiment.plan_best(chosen, results)
    assert {run.config.training.seed for run in planned} == set(sweep.fresh_seeds) == set(range(3, 9))
    assert {run.config.data.holdout for run in planned} == {0}
    assert {run.directory.path.parent.parent for run in planned} == {results / "best"}
    store_best(chosen, results, [0.9, 0.6])
    store_run(results / "best", experiment.best_configs(chosen)[0].name, 50, [2.0, 1.5, 0.0])  # of an earlier plan
    compared = experiment.compare_best(chosen, results).best
    assert compared is not None
    assert compared.baseline.arm.name == "none+optimizer.learning_rate=1"
    (other,) = compared.others
    assert other.against is not None
    assert other.against.seeds == list(range(3, 9))
    assert other.against.mean == pytest.approx(10)
    assert other.against.verdict == "helps"


def test_rows_that_differ_in_more_than_their_rule_are_told_so(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + f"grid: {{clipping: {RULES}, model.units: [5, 10], optimizer.learning_rate: [0.1, 1]}}\nfresh_seeds: 2\n")
    store_grid(sweep, results, [1.0, 0.6, 0.9, 0.8, 0.7, 0.3, 0.5, 0.4])
    chosen = experiment.read(sweep, results)
    assert [row.label for row in chosen.rows] == [
        "none, units 5",
        "none, units 10",
        "clipnorm 1, units 5",
        "clipnorm 1, units 10",
    ]
    store_best(chosen, results, [0.9, 0.8, 0.7, 0.6])
    result = experiment.compare_best(chosen, results)
    assert "Rows differ in model.units too" in sweep_report.scope(result)


def test_mixed_versions_within_the_grid_are_warned_of(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + GRID)
    store_grid(sweep, results, [1.0, 0.6, 0.9, 0.8, 0.7, 0.3])
    name = sweep.cells[0].config.name
    shutil.rmtree(results / name / "seed-0")
    assert sweep_report.warnings(experiment.Result(sweep, (), "holdout")) == []
    store_run(results, name, 0, [2.0, 1.5, 1.0], evaluation_split="holdout", machine={"processor": "b"})
    result = experiment.read(sweep, results)
    (warning,) = sweep_report.warnings(result)
    assert warning.startswith("mixed machines")
    assert f"Warning: {warning}" in sweep_report.to_markdown(result)
    assert json.loads(sweep_report.to_json(result))["warnings"] == [warning]


def test_the_page_shows_stored_texts_literally(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + GRID)
    store_grid(sweep, results, [1.0, 0.6, 0.9, 0.8, 0.7, 0.3], machine={"processor": "<b>*x*"})
    name = sweep.cells[0].config.name
    shutil.rmtree(results / name / "seed-0")
    store_run(results, name, 0, [2.0, 1.5, 1.0], evaluation_split="holdout", machine={"processor": "[a](b)"})
    result = experiment.read(sweep, results)
    page = sweep_report.to_markdown(result)
    assert "<b>*x*" in sweep_report.warnings(result)[0]
    assert r"&lt;b&gt;\*x\*" in page
    assert r"\[a\](b)" in page
    assert "![Mean holdout accuracy by learning rate" in page


def test_a_run_that_cannot_be_read_is_never_left_out_silently(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + GRID)
    store_grid(sweep, results, [1.0, 0.6, 0.9, 0.8, 0.7, 0.3])
    broken = results / sweep.cells[4].config.name / "seed-1" / "metrics.csv"
    broken.write_text("")
    with pytest.raises(ReportError, match=r"clipnorm-1\+optimizer\.learning_rate=1 can't be read. Remove them") as caught:
        experiment.read(sweep, results)
    assert str(broken) in str(caught.value)


def test_a_plan_on_other_runs_is_refused(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + GRID)
    store_grid(sweep, results, [1.0] * 6)
    with pytest.raises(ConflictError, match=r"training\.epochs: 3 there, 10 here"):
        experiment.plan(sweep, results)


def test_a_run_whose_config_has_two_mistakes_counts_as_one_conflict(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + GRID)
    stored = store_run(results, sweep.configs[0].name, sweep.seeds[0], [2.0, 1.5, 1.0])
    stored.config_path.write_text(stored.config_path.read_text().replace("units: ", "units: x").replace("epochs: ", "epochs: x"))
    with pytest.raises(ConflictError) as caught:
        experiment.plan(sweep, results)
    assert "model.units" in str(caught.value)
    assert "training.epochs" in str(caught.value)
    assert "more" not in str(caught.value)


def test_the_picture_has_the_table_s_figures(load: Callable[[str], Sweep], results: Path) -> None:
    sweep = load(BASE + GRID)
    store_grid(sweep, results, [1.0, 0.6, None, 0.8, 0.7, 0.3])
    result = experiment.read(sweep, results)
    drawn, table = sweep_report.stability(result), sweep_report.table(result)
    assert drawn.values.ravel() == pytest.approx(100 * table["holdout_accuracy"].to_numpy())
    assert drawn.diverged.ravel() == pytest.approx(table["diverged"].to_numpy() / table["runs"].to_numpy())
    assert (drawn.metric, drawn.axis, list(drawn.columns)) == ("holdout accuracy (%)", "learning rate", ["0.1", "1", "10"])
    assert list(drawn.rows) == ["none", "clipnorm 1"]
    assert list(drawn.best) == [1, 2]
    assert drawn.higher_is_better
