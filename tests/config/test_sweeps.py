"""Sweep files: what they mean, and how their mistakes are told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gradclip_cli.config import loading, sweeps
from gradclip_cli.config.experiment_files import SWEEP, find
from gradclip_cli.config.sweeps import Sweep
from gradclip_cli.errors import ConfigError
from gradclip_cli.gradients import rules as clipping_rules
from gradclip_cli.runs.store import RunDirectory

Writer = Callable[..., Path]

BASE = "base: {extends: none, data: {holdout: 10000}}\n"
RULES = "[{mode: none}, {mode: clipnorm, threshold: 1}]"
RATES = "[0.01, 0.1, 1]"


@pytest.fixture
def load(write_config: Writer) -> Callable[..., Sweep]:
    def load(grid: str, base: str = BASE, rest: str = "", name: str = "mine.yaml") -> Sweep:
        return sweeps.load(str(write_config(f"{base}grid: {grid}\n{rest}", name)))

    return load


def mistakes(path: Path | str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        sweeps.load(str(path))
    assert caught.value.exit_code == 2
    return list(caught.value.problems)


def assert_one_mistake(path: Path, place: str, told: str) -> None:
    problem, *others = mistakes(path)
    assert problem.startswith(f"{path}:{place}: ")
    assert told in problem
    assert not others


def names(sweep: Sweep) -> list[str]:
    return [config.name for config in sweep.configs]


# What a sweep means.


def test_cells_stand_in_the_grid_s_order_its_last_key_running_fastest(load: Callable[..., Sweep]) -> None:
    sweep = load(f"{{clipping: {RULES}, optimizer.learning_rate: {RATES}}}", rest="seeds: 3\nfresh_seeds: 4")
    assert [axis.key for axis in sweep.axes] == ["clipping", "optimizer.learning_rate"]
    assert [axis.labels for axis in sweep.axes] == [("none", "clipnorm 1"), ("0.01", "0.1", "1")]
    assert [cell.places for cell in sweep.cells] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert [(cell.config.clipping.mode, cell.config.optimizer.learning_rate) for cell in sweep.cells] == [
        ("none", 0.01), ("none", 0.1), ("none", 1), ("clipnorm", 0.01), ("clipnorm", 0.1), ("clipnorm", 1),
    ]  # fmt: skip
    assert names(sweep)[::5] == ["none+optimizer.learning_rate=0.01", "clipnorm-1+optimizer.learning_rate=1"]
    assert {cell.config.data.holdout for cell in sweep.cells} == {10_000}
    assert (sweep.name, sweep.seeds, sweep.fresh_seeds) == ("mine", (0, 1, 2), (3, 4, 5, 6))


def test_rows_hold_what_differs_in_nothing_but_the_column(load: Callable[..., Sweep]) -> None:
    sweep = load(f"{{optimizer.learning_rate: {RATES}, model.units: [5, 10], clipping: {RULES}}}")
    rows = sweep.rows()
    assert list(rows) == ["units 5, none", "units 5, clipnorm 1", "units 10, none", "units 10, clipnorm 1"]
    for cells in rows.values():
        assert [cell.config.optimizer.learning_rate for cell in cells] == [0.01, 0.1, 1]
        assert len({(cell.config.model.units, cell.config.clipping.label) for cell in cells}) == 1
    assert sweep.columns.key == "optimizer.learning_rate"


@pytest.mark.parametrize(
    ("grid", "column", "rows"),
    [
        (f"{{clipping: {RULES}, model.units: [5, 10]}}", "model.units", ["none", "clipnorm 1"]),
        (f"{{model.units: [5, 10], clipping: {RULES}}}", "model.units", ["none", "clipnorm 1"]),
        (f"{{clipping: {RULES}}}", "clipping", ["mine"]),
        (f"{{optimizer.learning_rate: {RATES}}}", "optimizer.learning_rate", ["mine"]),
        (f"{{optimizer.learning_rate: [0.1], clipping: {RULES}}}", "optimizer.learning_rate", ["none", "clipnorm 1"]),
        ("{optimizer.name: [sgd, adam], optimizer.learning_rate: [1]}", "optimizer.learning_rate",
         ["optimizer sgd", "optimizer adam"]),
    ],
)  # fmt: skip
def test_columns_are_the_rate_else_the_last_key_that_is_no_rule(
    grid: str, column: str, rows: list[str], load: Callable[..., Sweep]
) -> None:
    sweep = load(grid)
    assert sweep.columns.key == column
    assert list(sweep.rows()) == rows


def test_columns_rise_so_that_an_edge_is_one(load: Callable[..., Sweep]) -> None:
    sweep = load("{optimizer.learning_rate: [1, 0.01, 0.1], model.units: [10, 5]}")
    assert sweep.columns.labels == ("0.01", "0.1", "1")
    assert sweep.columns.numeric
    for cells in sweep.rows().values():
        assert [cell.config.optimizer.learning_rate for cell in cells] == [0.01, 0.1, 1]
    assert list(sweep.rows()) == ["units 10", "units 5"]
    assert not load("{optimizer.name: [sgd, adam]}").columns.numeric


def test_clipping_entries_replace_the_base_s_whole(load: Callable[..., Sweep]) -> None:
    base = "base: {extends: none, clipping: {mode: clipnorm, threshold: 3, layers: {dense: 5}}}\n"
    sweep = load("{clipping: [{mode: clipnorm, threshold: 1}, {mode: agc}]}", base)
    assert [cell.config.clipping.layer_thresholds for cell in sweep.cells] == [{}, {}]
    assert sweep.cells[0].config.threshold == 1
    kept = load("{clipping.threshold: [1, 2]}", base)
    assert [cell.config.clipping.layer_thresholds for cell in kept.cells] == [{"dense": 5}, {"dense": 5}]
    assert names(kept) == ["none+clipping.threshold=1", "none+clipping.threshold=2"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("optimizer.name: [sgd, adam]", "optimizer.learning_rate: [0.1, 0.2]"),
        ("model.cell: [lstm, gru]", "model.units: [3, 4]"),
        ("clipping.mode: [clipnorm, clipvalue]", "clipping.threshold: [1, 2]"),
        ("clipping: [{mode: clipnorm, threshold: 9}, {mode: clipvalue, threshold: 9}]", "clipping.threshold: [1, 2]"),
        ("optimizer: [{name: sgd, momentum: 0.5}, {name: adam}]", "optimizer.learning_rate: [0.1, 0.2]"),
    ],
)
def test_a_choice_never_sweeps_away_what_another_axis_says(first: str, second: str, load: Callable[..., Sweep]) -> None:
    key = second.partition(":")[0]
    section, _, leaf = key.partition(".")
    for grid in (f"{{{first}, {second}}}", f"{{{second}, {first}}}"):
        sweep = load(grid, "base: none\n")
        place = [axis.key for axis in sweep.axes].index(key)
        for cell in sweep.cells:
            value = getattr(getattr(cell.config, section), leaf)
            assert f"{value:g}" == sweep.axes[place].labels[cell.places[place]]


def test_arm_names_are_unique_and_name_folders(load: Callable[..., Sweep], results: Path) -> None:
    grid = (
        "{clipping: [{mode: none}, {mode: autoclip}, {mode: autoclip, window: 10}, {mode: agc}, {mode: agc, epsilon: 0.1}, "
        "{mode: clipnorm, threshold: 1, layers: {dense: 5}}, {mode: clipnorm, threshold: 1, layers: {lstm: null}}, "
        "{mode: clipvalue, threshold: 1e-7}, {mode: clipvalue, threshold: 1e+7}], "
        "optimizer.learning_rate: [1e-5, 1e+5, 0.1234567, 0.1234568], model.units: [10, [4, 3]], "
        "model.forget_bias: [-1.0, 1.0], optimizer.nesterov: [true, false], optimizer.weight_decay: [null, 0.1]}"
    )
    sweep = load(grid)
    assert len(set(names(sweep))) == len(sweep.cells) == 9 * 4 * 2 * 2 * 2 * 2
    assert len(sweep.rows()) == len(sweep.cells) // 4
    for cell in sweep.cells:
        assert type(cell.config).model_validate(cell.config.model_dump()) == cell.config
        assert RunDirectory.of(results, cell.config.name, 0).path.parent.parent == results
    told = " ".join(names(sweep))
    for part in ("=1e-05", "=100000", "=0.1234567+", "=0.1234568+", "units=4,3", "forget_bias=-1", "weight_decay=null"):
        assert part in told
    assert {"autoclip 10%", "autoclip 10% (window 10)", "agc 0.01 (epsilon 0.1)"} <= set(sweep.axes[0].labels)


def test_huge_and_tiny_rates_are_not_taken_for_each_other(load: Callable[..., Sweep]) -> None:
    assert names(load("{optimizer.learning_rate: [1e-30, 1e+30]}")) == [
        "none+optimizer.learning_rate=1e-30", "none+optimizer.learning_rate=1e+30",
    ]  # fmt: skip


def test_every_rule_can_be_swept_over(load: Callable[..., Sweep]) -> None:
    rules = [
        f"{{mode: {mode}{', threshold: 2' if 'threshold' in section.model_fields else ''}}}"
        for mode, section in clipping_rules.RULES.items()
    ]
    sweep = load(f"{{clipping: [{', '.join(rules)}]}}")
    assert [cell.config.clipping.mode for cell in sweep.cells] == list(clipping_rules.RULES)


def test_a_base_may_be_a_name_or_stand_beside_the_sweep(
    load: Callable[..., Sweep], write_config: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config("extends: none\ntraining: {epochs: 7}", "short.yaml")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for base in ("base: short.yaml\n", "base: {extends: short.yaml}\n"):
        assert load("{model.units: [5]}", base).cells[0].config.training.epochs == 7
    assert load("{model.units: [5]}", "base: explode/none\n").cells[0].config.model.cell == "simple_rnn"
    assert load("{model.units: [5]}", "base: {model: {cell: gru}}\n").cells[0].config.model.cell == "gru"


@pytest.mark.parametrize("name", loading.shipped_sweeps())
def test_shipped_sweeps_load_by_name_from_any_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = sweeps.load(name)
    assert sweep.name == name == sweeps.load(f"{name}.yaml").name
    assert sweep.columns.key == "optimizer.learning_rate"
    assert {cell.config.data.holdout for cell in sweep.cells} == {10_000}
    assert not set(sweep.seeds) & set(sweep.fresh_seeds)
    assert next(iter(sweep.rows())) == "none"  # what the others are compared with


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [("4", [0, 1, 2, 3]), ("2-4", [2, 3, 4]), ("'1,5,7'", [1, 5, 7]), ("[1, 5, 7]", [1, 5, 7]), ("[3]", [3]), ("[0]", [0]),
     ("[0-2, 9]", [0, 1, 2, 9])],
)  # fmt: skip
def test_seeds_are_read_as_lists_and_counts(seeds: str, expected: list[int], load: Callable[..., Sweep]) -> None:
    sweep = load(f"{{clipping: {RULES}, model.units: [5, 6]}}", rest=f"seeds: {seeds}\nfresh_seeds: 3")
    assert list(sweep.seeds) == expected
    assert sweep.fresh_seeds == (max(expected) + 1, max(expected) + 2, max(expected) + 3)


def test_seeds_have_defaults(load: Callable[..., Sweep]) -> None:
    sweep = load(f"{{clipping: {RULES}, model.units: [5, 6]}}")
    assert (len(sweep.seeds), len(sweep.fresh_seeds)) == (5, 10)


@pytest.mark.parametrize(
    ("grid", "base"),
    [
        (f"{{clipping: {RULES}, model.units: [5, 6]}}", "base: none\n"),  # nothing is held out to choose on
        ("{optimizer.learning_rate: [0.1, 1]}", BASE),  # one row: nothing to compare it with
    ],
)
def test_no_fresh_seeds_where_nothing_can_be_compared(grid: str, base: str, load: Callable[..., Sweep]) -> None:
    assert load(grid, base, "fresh_seeds: 5").fresh_seeds == ()


def test_runs_belong_to_the_sweep_s_name_and_arms_to_the_base_s(load: Callable[..., Sweep], write_config: Writer) -> None:
    """So that a copied or renamed file trains nothing anew."""
    write_config("extends: clipnorm\nname: gentle", "file.yaml")
    for base, name in (
        ("base: none\n", "none"),
        ("base: file.yaml\n", "gentle"),
        ("base: {extends: file.yaml, training: {epochs: 3}}\n", "gentle"),
        ("base: {extends: none, name: own}\n", "own"),
        ("base: {model: {cell: gru}}\n", "base"),
    ):
        first, copy = (load("{model.units: [5]}", base, "name: mine", file) for file in ("a.yaml", "b.yaml"))
        assert first == copy
        assert names(first) == [f"{name}+model.units=5"]


@pytest.mark.parametrize("name", loading.shipped_sweeps())
def test_a_copy_of_a_shipped_sweep_is_the_same_sweep(name: str, tmp_path: Path) -> None:
    (tmp_path / "copy.yaml").write_bytes(find(name, SWEEP).read_bytes())
    assert sweeps.load(str(tmp_path / "copy.yaml")) == sweeps.load(name)


def test_another_cell_keeps_the_base_s_units(load: Callable[..., Sweep]) -> None:
    sweep = load("{model.cell: [lstm, gru, simple_rnn]}", "base: {extends: none, model: {units: 32, forget_bias: 0}}\n")
    assert [cell.config.model.units for cell in sweep.cells] == [32, 32, 32]
    assert [cell.config.model.forget_bias for cell in sweep.cells] == [0, 1, 1]
    assert sweep.resets == (
        "model.cell=gru resets model.forget_bias to the default 1.0 (was 0)",
        "model.cell=simple_rnn resets model.forget_bias to the default 1.0 (was 0)",
    )


def test_what_an_axis_resets_is_told_once(load: Callable[..., Sweep]) -> None:
    base = "base: {extends: none, optimizer: {learning_rate: 0.5}, clipping: {mode: clipnorm, threshold: 3}}\n"
    assert load("{optimizer.name: [sgd, adam], model.units: [5, 6]}", base).resets == (
        "optimizer.name=adam resets optimizer.learning_rate to adam's 0.001 (was 0.5)",
    )
    assert load(f"{{optimizer.name: [sgd, adam], optimizer.learning_rate: {RATES}}}", base).resets == ()
    assert load(f"{{clipping: {RULES}}}", base).resets == ()  # whole rules replace the base's, as docs/threshold.md says


def test_settings_are_laid_over_the_base_and_hold_in_every_cell(write_config: Writer) -> None:
    path = str(write_config(f"{BASE}grid: {{optimizer.name: [sgd, adam], clipping: {RULES}}}\nname: mine\n"))
    sweep = sweeps.load(path, ["optimizer.learning_rate=0.1", "training={epochs: 3}"])
    assert {(cell.config.optimizer.learning_rate, cell.config.training.epochs) for cell in sweep.cells} == {(0.1, 3)}
    assert sweep.name == "mine+optimizer.learning_rate=0.1+training.epochs=3"
    assert names(sweep) == names(sweeps.load(path))
    assert sweep == sweeps.load(path, ["training={epochs: 3}", "optimizer.learning_rate=0.1"])
    assert sweeps.load(path, ["training.epochs=10"]).name == "mine"  # as it is
    smaller = sweeps.load(path, ["data.subset=sample", "data.holdout=500"])
    assert {(cell.config.data.subset, cell.config.data.holdout) for cell in smaller.cells} == {("sample", 500)}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("optimizer.name=adam", "contradicts the grid"),
        ("optimizer={name: adam}", "contradicts the grid"),
        ("clipping.threshold=3", "contradicts the grid"),
        ("clipping={mode: agc}", "contradicts the grid"),
        ("training.seed=3", "seeds stand in `seeds`"),
        ("training={seed: 3}", "seeds stand in `seeds`"),
        ("name=other", "the arms' names are made from the grid"),
        ("extends=none", "extends stands in files only"),
        ("optimizer.learnig_rate=3", "did you mean 'learning_rate'?"),
        ("training.epochs=2020-01-01", "training.epochs: input should be a valid integer"),
        ("model.units", "expected KEY.PATH=VALUE"),
        ("name", "expected KEY.PATH=VALUE"),
    ],
)
def test_settings_that_the_grid_has_no_place_for_are_refused(setting: str, told: str, write_config: Writer) -> None:
    path = write_config(f"{BASE}grid: {{optimizer.name: [sgd, adam], clipping: {RULES}}}\n")
    with pytest.raises(ConfigError) as caught:
        sweeps.load(str(path), [setting])
    (problem,) = caught.value.problems
    assert problem.startswith(f"--set {setting}: " if "contradicts" not in told else f"--set {setting} contradicts the grid")
    assert told in problem


def test_very_many_settings_need_a_file_of_their_own(write_config: Writer) -> None:
    path = write_config(f"{BASE}grid: {{clipping: {RULES}}}\n")
    settings = ["optimizer.learning_rate=0.12345678901234567", "model.recurrent_gain=0.12345678901234567"]
    settings += [
        "optimizer.momentum=0.12345678901234567",
        "data.scale=12.345678901234567",
        "model.forget_bias=0.12345678901234567",
    ]
    settings += [f"model.regularizer.{penalty}=0.12345678901234567" for penalty in ("l1", "l2")]
    with pytest.raises(ConfigError, match="write them into a sweep's file of its own"):
        sweeps.load(str(path), settings)


# Mistakes.


@pytest.mark.parametrize(
    ("grid", "place", "told"),
    [
        ("{optimizer.learnig_rate: [1]}", "2:8", "unknown key 'learnig_rate' in optimizer; did you mean 'learning_rate'?"),
        ("{optimzer.learning_rate: [1]}", "2:8", "unknown key 'optimzer' in the config; did you mean 'optimizer'?"),
        ("{epochs: [1]}", "2:8", "unknown key 'epochs' in the config; did you mean training.epochs?"),
        ("{optimizer.learning_rate: []}", "2:33", "grid.optimizer.learning_rate: expected a list of values with at least one"),
        ("{optimizer.learning_rate: 0.1}", "2:33", "grid.optimizer.learning_rate: expected a list of values"),
        ("{optimizer: {learning_rate: [0.1]}}", "2:19", "expected a list of values; write optimizer.learning_rate: [...]"),
        ("{optimizer.learning_rate: [2001-01-01]}", "2:34", "optimizer.learning_rate: input should be a valid number"),
        ("{optimizer.learning_rate: [.nan, 1]}", "2:34", "optimizer.learning_rate: "),
        ("{model.units: [[2001-01-01]]}", "2:23", "model.units: "),
        ("{optimizer.learning_rate: [0.1, 1e-1]}", "2:39", "grid.optimizer.learning_rate: holds 0.1 twice (first at "),
        ("{optimizer.learning_rate: [1, 1.0]}", "2:37", "grid.optimizer.learning_rate: holds 1 twice"),
        ("{clipping: [{mode: agc}, {threshold: 0.01, mode: agc}]}", "2:32", "grid.clipping: holds agc 0.01 twice"),
        ("{optimizer.learning_rate: [0.1, -1]}", "2:39", "optimizer.learning_rate: input should be greater than 0, not -1"),
        ("{optimizer.learning_rate: [0.1, fast]}", "2:39", "optimizer.learning_rate: input should be a valid number"),
        ("{model.units: [.nan]}", "2:22", "model.units"),
        ("{clipping: [{mode: clipnrom, threshold: 1}]}", "2:26", "clipping.mode can't be 'clipnrom'; did you mean 'clipnorm'?"),
        ("{clipping: [{mode: clipnorm}]}", "2:19", "missing key 'threshold' in clipping (mode clipnorm needs it)"),
        ("{clipping: [{threshold: 1}]}", "2:19", "missing key 'mode' in clipping"),
        ("{clipping: [{mode: clipnorm, threshold: 1, layers: {lstn: 1}}]}", "2:59",
         "clipping.layers can't be 'lstn'; did you mean 'lstm'?"),
        ("{clipping: [none]}", "2:19", "grid.clipping: expected whole rules, such as {mode: clipnorm, threshold: 1}, not none"),
        ("{training.seed: [1, 2]}", "2:8", "grid.training.seed can't be swept over; seeds stand in `seeds`"),
        ("{name: [a, b]}", "2:8", "grid.name can't be swept over; the arms' names are made from the grid"),
        ("{extends: [none, clipnorm]}", "2:8", "grid.extends can't be swept over"),
        ("{data.holdout: [0, 1000]}", "2:8", "grid.data.holdout can't be swept over"),
        ("{data: [{holdout: 10}, {holdout: 20}]}", "", "data.holdout"),
        ("{training: [{seed: 1}, {seed: 2}]}", "", "are the same config"),
        ("{optimizer: [{name: sgd, learning_rate: 1}, {name: sgd, learning_rate: 2}], optimizer.learning_rate: [3]}", "",
         "are the same config"),
        ("{}", "2:7", "the grid is empty; give keys with lists of values"),
        ("", "2:6", "the grid is empty"),
        ("[1, 2]", "2:7", "the grid is empty"),
    ],
)  # fmt: skip
def test_mistakes_in_the_grid_have_their_place(grid: str, place: str, told: str, write_config: Writer) -> None:
    path = write_config(f"{BASE}grid: {grid}\n")
    problem, *others = mistakes(path)
    assert problem.startswith(f"{path}:{place}: " if place else f"{path}: ")
    assert told in problem
    assert not others


@pytest.mark.parametrize(
    ("rest", "place", "told"),
    [
        ("seeds: many", "3:8", "seeds many: expected a count (10), a range (0-9) or a list (1,5,7)"),
        ("seeds: 0", "3:8", "the range is empty"),
        ("seeds: -1", "3:8", "expected a count"),
        ("seeds: 1.5", "3:8", "expected a count"),
        ("seeds: 5-1", "3:8", "the range is empty"),
        ("seeds: []", "3:8", "no seeds"),
        ("seeds: [1, x]", "3:8", "expected a count"),
        ("seeds: true", "3:8", "expected a count"),
        ("seeds: {a: 1}", "3:8", "expected a count"),
        ("seeds:", "3:7", "expected a count"),
        ("fresh_seeds: 1", "3:14", "fresh_seeds: expected 0 (none) or a number from 2 to 100,000, not 1"),
        ("fresh_seeds: -2", "3:14", "fresh_seeds: expected"),
        ("fresh_seeds: true", "3:14", "fresh_seeds: expected"),
        ("fresh_seeds: 2.5", "3:14", "fresh_seeds: expected"),
        ("fresh_seeds: 1000000000000", "3:14", "fresh_seeds: expected"),
        ("sedes: 3", "3:1", "unknown key 'sedes' in the sweep; did you mean 'seeds'?"),
        ("clipping: {mode: none}", "3:1", "unknown key 'clipping' in the sweep; known here: base, grid, seeds,"),
        ("name: a/b", "3:7", "name: letters, digits and"),
        ("name: ", "3:6", "name: letters, digits and"),
        ("name: .hidden", "3:7", "name: letters, digits and"),
        (f"name: {'x' * 201}", "3:7", "name: at most 200 letters"),
        ("seeds: 99999999999999999999-99999999999999999999", "3:8", "seeds go up to 4,294,967,295"),
        ("seeds: [4294967290]\nfresh_seeds: 6", "3:8", "leave no 6 fresh seeds up to 4,294,967,295"),
        ("seeds: 3\nseeds: 4", "4:1", "duplicate key 'seeds'"),
        ("seeds: !!python/object/apply:os.system ['true']", "3:8", "Python tag '!!python/object/apply:os.system' is refused"),
        ("seeds: [1, 2", "4:1", "not valid YAML"),
    ],
)  # fmt: skip
def test_mistakes_beside_the_grid_have_their_place(rest: str, place: str, told: str, write_config: Writer) -> None:
    path = write_config(f"{BASE}grid: {{clipping: {RULES}, model.units: [5, 6]}}\n{rest}\n")
    assert_one_mistake(path, place, told)


@pytest.mark.parametrize(
    ("base", "place", "told"),
    [
        ("base: cilpnorm", "1:7", "base is 'cilpnorm', but there is no such file; did you mean 'clipnorm'?"),
        ("base: {extends: cilpnorm}", "1:17", "extends 'cilpnorm', but there is no such file; did you mean 'clipnorm'?"),
        ("base: 5", "1:7", "base: expected a config's name, or a config's keys"),
        ("base: [none]", "1:7", "base: expected a config's name, or a config's keys"),
        ("base:", "1:6", "base: expected a config's name, or a config's keys"),
        ("base: {extends: {mode: none}}", "1:17", 'extends one config, by file or shipped name, not {"mode": "none"}'),
        (f"base: {'x' * 300}", "1:7", "but there is no such file"),
        ("base: {modle: {}}", "1:8", "unknown key 'modle' in the config; did you mean 'model'?"),
        ("base: {training: {epochs: 0}}", "1:27", "training.epochs: input should be greater than or equal to 1, not 0"),
    ],
)  # fmt: skip
def test_mistakes_in_the_base_are_told_once(base: str, place: str, told: str, write_config: Writer) -> None:
    path = write_config(f"{base}\ngrid: {{clipping: {RULES}, optimizer.learning_rate: {RATES}}}\n")
    assert_one_mistake(path, place, told)


def test_all_mistakes_are_told_at_once(write_config: Writer) -> None:
    told = mistakes(
        write_config("bsae: none\ngrid: {model.units: [], training.seed: [1]}\nseeds: x\nfresh_seeds: 1\nname: a b\n")
    )
    assert len(told) == 7
    for part in (
        "'bsae'",
        "missing key 'base'",
        "grid.model.units",
        "grid.training.seed",
        "seeds x",
        "fresh_seeds",
        "name: letters",
    ):
        assert any(part in problem for problem in told), part
    missing = mistakes(write_config("seeds: 3\n"))
    assert [problem.partition("missing ")[2] for problem in missing] == ["key 'base' in the sweep", "key 'grid' in the sweep"]
    assert len(mistakes(write_config(""))) == 2


def test_each_value_s_mistake_is_told_once_whatever_it_is_combined_with(write_config: Writer) -> None:
    told = mistakes(
        write_config(f"{BASE}grid: {{optimizer.learning_rate: [-1, 0.1, -2], model.units: [5, 0, 7], clipping: {RULES}}}\n")
    )
    assert len(told) == 3


def test_a_grid_too_large_is_told_before_it_is_expanded(write_config: Writer) -> None:
    values = ", ".join(str(index / 1000) for index in range(1, 1001))
    path = write_config(
        f"{BASE}grid: {{optimizer.learning_rate: [{values}], clipping.threshold: [{values}], data.scale: [{values}]}}\n"
    )
    clock = time.perf_counter()
    assert mistakes(path) == [f"{path}: 5,000,000,000 runs, which is over 10,000; shorten the grid, or give --yes to train them"]
    assert time.perf_counter() - clock < 3
    small = write_config(f"{BASE}grid: {{clipping: {RULES}, optimizer.learning_rate: [1, 2]}}\nseeds: 2\nfresh_seeds: 3\n")
    with pytest.raises(ConfigError, match="8 runs, which is over 7"):
        sweeps.load(str(small), most_runs=7)
    assert len(sweeps.load(str(small), most_runs=8).cells) == 4


@pytest.mark.parametrize("text", ["base: none\ngrid: " + "[" * 30_000, f"base: none\ngrid: {{{'.'.join('a' * 30_000)}: [1]}}"])
def test_deep_nesting_is_refused(text: str, write_config: Writer) -> None:
    (told,) = mistakes(write_config(text))
    assert len(told) < 500


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    assert mistakes(path) == [f"{path}: can't be read: not a regular file"]


@pytest.mark.parametrize("name", ["x" * 5000, "x" * 300 + "/y.yaml"])
def test_a_name_too_long_for_a_file_is_no_sweep(name: str) -> None:
    assert "no such sweep" in mistakes(name)[0]


def test_a_large_grid_loads_in_seconds(write_config: Writer) -> None:
    values = ", ".join(str(index / 1000) for index in range(1, 51))
    path = write_config(f"{BASE}grid: {{optimizer.learning_rate: [{values}], data.scale: [{values}]}}\nseeds: 4\n")
    clock = time.perf_counter()
    assert len(sweeps.load(str(path)).cells) == 2500
    assert time.perf_counter() - clock < 10


def test_a_name_too_long_for_a_folder_is_told(write_config: Writer) -> None:
    keys = ("learning_rate", "beta_1", "beta_2", "epsilon", "weight_decay")
    adam = ", ".join(["name: adam", *(f"{key}: 0.12345678901234567" for key in keys)])
    (problem,) = mistakes(write_config(f"{BASE}grid: {{optimizer: [{{{adam}}}], model.recurrent_gain: [0.12345678901234567]}}\n"))
    assert "longer than 200 letters" in problem


@pytest.mark.parametrize(
    ("name", "near"),
    [("stabilty", "'stability'"), ("sweeps/stabilty.yaml", "'stability'"), ("mine", "'mine.yaml'"), ("mime.yaml", "'mine.yaml'")],
)
def test_a_sweep_that_is_not_there_is_answered_with_a_near_one(
    name: str, near: str, write_config: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config("", "mine.yaml")
    monkeypatch.chdir(tmp_path)
    (problem,) = mistakes(name)
    assert problem.startswith(f"{name}: no such sweep; did you mean {near}? Shipped with gradclip: explode, stability")


def test_a_config_in_place_of_a_sweep_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert mistakes("clipnorm")[0].startswith("clipnorm is a config, not a sweep: train it with gradclip run clipnorm")


def test_a_sweep_near_nothing_is_answered_with_what_there_is(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "xyz.yaml")[0].endswith("no such sweep. Shipped with gradclip: explode, stability")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "can't be read" in mistakes(tmp_path / "binary.yaml")[0]


def test_a_sweep_takes_its_name_from_its_file_or_says_it(load: Callable[..., Sweep], write_config: Writer) -> None:
    assert load("{model.units: [5]}", rest="name: other").name == "other"
    assert load("{model.units: [5]}", rest="name: 2026").name == "2026"
    path = write_config(f"{BASE}grid: {{model.units: [5]}}\n", "my sweep.yaml")
    (problem,) = mistakes(path)
    assert problem.startswith(f"{path}: name: letters, digits and")
    assert problem.endswith("since it names a folder, not 'my sweep'; give the sweep a name")
