"""Configs: precedence, names, mistakes told with their place."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gradclip_cli.config import loading
from gradclip_cli.config.schema import MOST_STEPS, OPTIMIZERS, Config
from gradclip_cli.config.seeds import parse_seeds
from gradclip_cli.errors import ConfigError

Writer = Callable[..., Path]


def mistakes(path: Path | str, *settings: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loading.load(str(path), settings)
    assert caught.value.exit_code == 2
    return list(caught.value.problems)


def test_shipped_configs_load_and_differ_from_none_in_what_they_say() -> None:
    loaded = {name: loading.load(name) for name in loading.shipped_names()}
    assert {"none", "clipnorm", "clipvalue", "global_clipnorm", "adam/none", "adam/clipnorm", "adam/clipvalue"} <= set(loaded)
    assert loaded["clipnorm"].threshold == 1.0
    assert loaded["clipvalue"].threshold == 0.5
    changed = {key for key, *_ in loading.differences(loaded["none"], loaded["clipvalue"])}
    assert changed == {"name", "clipping.mode", "clipping.threshold"}
    assert loaded["adam/clipnorm"].optimizer.name == "adam"


def test_base_config_is_complete_and_says_the_defaults() -> None:
    written = yaml.safe_load((loading.shipped_directory() / "none.yaml").read_text())
    defaults = Config(name="none").model_dump()
    assert written == defaults
    assert list(written) == list(defaults)


def test_schema_file_is_fresh_and_named_by_every_config() -> None:
    folder = loading.shipped_directory()
    assert json.loads((folder / "schema.json").read_text()) == loading.json_schema()
    for name in loading.shipped_names():
        path = folder / f"{name}.yaml"
        reference = path.read_text().splitlines()[0].removeprefix("# yaml-language-server: $schema=")
        assert (path.parent / reference).resolve() == (folder / "schema.json").resolve()


def test_optimizers_have_keras_parameters_and_defaults() -> None:
    import keras

    left_out = {
        "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "ema_momentum", "ema_overwrite_frequency", "loss_scale_factor",
        "gradient_accumulation_steps", "name", "exclude_layers", "exclude_embeddings", "kwargs", "self",
    }  # fmt: skip
    wrappers = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap"}
    classes = {
        name.lower(): kind for name, kind in vars(keras.optimizers).items() if inspect.isclass(kind) and name not in wrappers
    }
    assert set(classes) == set(OPTIMIZERS)
    for name, kind in classes.items():
        signature = inspect.signature(kind.__init__).parameters
        assert OPTIMIZERS[name] == {key: value.default for key, value in signature.items() if key not in left_out}, name


def test_extends_chain_and_precedence(write_config: Writer) -> None:
    write_config("extends: none\ntraining: {epochs: 3}\noptimizer: {learning_rate: 1e-3}", "base.yaml")
    child = write_config("extends: base.yaml\ntraining: {steps_per_epoch: 7}", "child.yaml")
    loaded = loading.load(str(child), ["training.epochs=4"])
    assert (loaded.training.epochs, loaded.training.steps_per_epoch, loaded.optimizer.learning_rate) == (4, 7, 0.001)
    assert loaded.name == "child+training.epochs=4"


def test_another_choice_replaces_its_section_whole(write_config: Writer) -> None:
    write_config(
        "optimizer: {name: sgd, momentum: 0.9}\nmodel: {cell: lstm, units: 30}\nclipping: {mode: clipnorm, threshold: 3}",
        "a.yaml",
    )
    child = write_config("extends: a.yaml\noptimizer: {name: adam}\nmodel: {cell: gru}\nclipping: {mode: none}", "b.yaml")
    loaded = loading.load(str(child))
    assert loaded.optimizer.parameters().get("momentum") is None
    assert loaded.model.units == 30  # means the same for every cell
    assert loaded.threshold is None
    kept = write_config("extends: a.yaml\noptimizer: {name: sgd, nesterov: true}", "c.yaml")
    assert loading.load(str(kept)).optimizer.parameters()["momentum"] == 0.9


def test_overrides_name_the_arm() -> None:
    assert loading.load("clipvalue", ["optimizer.learning_rate=0.1"]).name == "clipvalue+optimizer.learning_rate=0.1"
    assert loading.load("clipvalue", ["optimizer.learning_rate=0.01"]).name == "clipvalue"
    assert loading.load("clipvalue", ["training.seed=4"]).name == "clipvalue"
    assert loading.load("clipvalue", ["name=other", "training.epochs=1"]).name == "other"
    reordered = [
        loading.load("none", settings).name for settings in (["data.scale=1", "model.units=4"], ["model.units=4", "data.scale=1"])
    ]
    assert reordered[0] == reordered[1]


# Overrides are a set.


def value_at(chosen: Config, key: str) -> Any:
    value: Any = chosen.model_dump()
    for part in key.split("."):
        value = value[part]
    return value


@pytest.mark.parametrize(
    "settings",
    [
        {"model.units": 32, "model.cell": "gru"},
        {"optimizer.learning_rate": 0.1, "optimizer.name": "adam"},
        {"optimizer.learning_rate": 0.01, "optimizer.name": "adam"},  # the base's rate, but not Adam's
        {"clipping.threshold": 3, "clipping.mode": "clipnorm", "clipping.layers": {"dense": 5}},
        {"optimizer": {"name": "adam", "beta_1": 0.5}, "optimizer.learning_rate": 0.1, "optimizer.beta_2": 0.9},
        {"model": {"cell": "gru"}, "model.units": [4, 3], "model.regularizer.l2": 0.1},
    ],
)
def test_an_override_holds_whatever_its_place(settings: dict[str, Any]) -> None:
    written = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    found = [loading.load("none", list(order)) for order in itertools.permutations(written)]
    for chosen in found:
        assert chosen == found[0]
        for key, value in settings.items():
            held = value_at(chosen, key)
            assert {**held, **value} == held if isinstance(value, dict) else held == value
    assert not any(f"{key}=" not in found[0].name for key, value in settings.items() if not isinstance(value, dict))


LEAVES = {
    "optimizer.name": ["sgd", "adam", "rmsprop"],
    "optimizer.learning_rate": [0.01, 0.001, 0.5],
    "optimizer.epsilon": [1e-7, 0.1],
    "model.cell": ["lstm", "gru"],
    "model.units": [10, 4, [3, 2]],
    "model.activation": ["tanh", "relu"],
    "model.regularizer.l2": [0, 0.1],
    "model.regularizer": [{"l1": 0.5}],
    "clipping.mode": ["clipnorm", "clipvalue", "agc"],
    "clipping.threshold": [0.5, 2],
    "clipping.layers": [{"dense": 5}, {}],
    "clipping": [{"mode": "clipnorm"}, {"mode": "agc", "epsilon": 0.1}],
    "training.epochs": [10, 3],
    "training.seed": [0, 7],
    "data": [{"pool": 2, "batch_size": 8}],
    "data.batch_size": [8],
}


@given(
    st.sampled_from(["none", "clipvalue", "wide_output", "adam/clipnorm", "explode/lstm_relu"]),
    st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in LEAVES.items()}),
    st.randoms(use_true_random=False),
)
def test_every_order_of_overrides_gives_the_same_config(base: str, settings: dict[str, Any], random: Any) -> None:
    """Or the same refusal: some sets contradict themselves, or ask for what there is not."""
    written = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    shuffled = random.sample(written, len(written))

    def outcome(order: list[str]) -> Config | set[str]:
        try:
            return loading.load(base, order)
        except ConfigError as error:
            return set(error.problems)

    chosen = outcome(written)
    assert outcome(shuffled) == chosen
    if isinstance(chosen, Config):
        for key, value in settings.items():
            held = value_at(chosen, key)
            assert {**held, **value} == held if isinstance(value, dict) and value else held == value, key


@pytest.mark.parametrize(
    ("settings", "both"),
    [
        (["training.epochs=2", "training.epochs=3"], ["training.epochs=2", "training.epochs=3"]),
        (["optimizer={name: adam, learning_rate: 0.1}", "optimizer.learning_rate=0.2"], ["optimizer.learning_rate=0.2", "{name"]),
        (["clipping={mode: clipnorm, threshold: 1}", "clipping={mode: clipvalue, threshold: 1}"], ["clipnorm", "clipvalue"]),
        (["clipping.layers={}", "clipping.layers.dense=5", "clipping={mode: agc}"], ["layers={}", "layers.dense"]),
        (["model=3", "model.units=3"], ["model=3", "model.units=3"]),
    ],
)  # fmt: skip
def test_overrides_that_contradict_each_other_are_refused(settings: list[str], both: list[str]) -> None:
    for order in itertools.permutations(settings):
        (told,) = mistakes("none", *order)
        assert "contradict" in told
        assert all(part in told for part in both)


def test_the_same_override_twice_is_one() -> None:
    once = loading.load("none", ["training.epochs=2"])
    assert loading.load("none", ["training.epochs=2", "training.epochs=2"]) == once
    assert loading.load("none", ["training={epochs: 2}", "training.epochs=2"]) == once
    stacked = loading.load("none", ["model={units: [3, 2]}", "model.units=[3, 2]"])
    assert (stacked.model.units, stacked.name) == ([3, 2], "none+model.units=3,2")


def test_an_empty_mapping_says_that_there_is_nothing() -> None:
    assert loading.load("wide_output", ["clipping.layers={}"]).clipping.layer_thresholds == {}
    assert "training={}" in mistakes("none", "training={}")[0]


def test_another_cell_resets_what_is_one_cell_s_alone(write_config: Writer) -> None:
    path = write_config("extends: none\nmodel: {units: [8, 4], activation: relu, forget_bias: 0, regularizer: {l2: 0.5}}")
    gru = loading.load(str(path), ["model.cell=gru"]).model
    assert (gru.units, gru.activation, gru.regularizer.l2, gru.forget_bias) == ([8, 4], "relu", 0.5, 1)
    assert "a gru has no forget gate" in mistakes(path, "model.cell=gru", "model.forget_bias=0")[0]


def test_what_a_changed_choice_resets_is_told(write_config: Writer) -> None:
    assert loading.read("none", ["optimizer.name=adam"]).resets == (
        "optimizer.name=adam resets optimizer.learning_rate to adam's 0.001 (was 0.01)",
    )
    path = write_config("extends: clipvalue\noptimizer: {momentum: 0.9}\nmodel: {units: 32, forget_bias: 0}")
    told = loading.read(str(path), ["optimizer.name=adam", "optimizer.learning_rate=0.1", "model.cell=gru", "clipping.mode=agc"])
    assert told.resets == (
        "clipping.mode=agc resets clipping.threshold to agc's 0.01 (was 0.5)",
        "optimizer.name=adam drops optimizer.momentum (was 0.9)",
        "model.cell=gru resets model.forget_bias to the default 1.0 (was 0)",
    )
    for settings in ([], ["optimizer.name=sgd"], ["training.epochs=3"], ["clipping={mode: clipnorm, threshold: 3}"]):
        assert loading.read("none", settings).resets == ()
    assert loading.read("adam/none").resets == ()
    assert loading.read("clipvalue", ["clipping={mode: none}"]).resets == ()  # has nothing to set
    assert loading.read("none", ["optimizer.name=adam"]).config == loading.load("none", ["optimizer.name=adam"])


def test_an_override_mends_what_the_file_gets_wrong(write_config: Writer) -> None:
    for text in ("clipping: clipnorm", "clipping: {mode: [a]}", "clipping: {mode: clipnrom}", "clipping:"):
        chosen = loading.read(str(write_config(text)), ["clipping={mode: agc}"])
        assert (chosen.config.clipping.mode, chosen.resets) == ("agc", ())


def test_stored_config_is_read_back_the_same(tmp_path: Path) -> None:
    for name in loading.shipped_names():
        loaded = loading.load(name, ["optimizer.learning_rate=1e-7"])
        path = tmp_path / "config.yaml"
        path.write_text(loading.to_yaml(loaded))
        assert loading.load_stored(path) == loaded


def test_stored_config_without_a_newer_key_is_filled_in(tmp_path: Path) -> None:
    content = loading.load("clipvalue").model_dump(mode="json")
    del content["model"]["recurrent_gain"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    assert loading.load_stored(path) == loading.load("clipvalue")


@given(st.sampled_from([0.1, 1e-5, 3.0, 1e22]), st.sampled_from(["{}", "{:e}", "{:.0e}"]))
def test_numbers_in_any_notation(value: float, notation: str) -> None:
    text = notation.format(value)
    assert loading.load("none", [f"optimizer.learning_rate={text}"]).optimizer.learning_rate == float(text)


def test_all_mistakes_at_once_with_places_and_suggestions(write_config: Writer) -> None:
    path = write_config(
        "extends: none\n"
        "optimizer: {name: adam, learnig_rate: 0.1, clipvlaue: 3}\n"
        "training: {epochs: true}\n"
        "modle: {}\n"
        "clipping: {mode: clipvalue}\n"
    )
    told = mistakes(path)
    text = "\n".join(told)
    for expected in (
        f"{path}:2:25: unknown key 'learnig_rate' in optimizer; did you mean 'learning_rate'?",
        f"{path}:2:44: unknown key 'clipvlaue' in optimizer; did you mean 'clipvalue'?",
        f"{path}:3:20: training.epochs: ",
        f"{path}:4:1: unknown key 'modle' in the config; did you mean 'model'?",
        f"{path}:5:1: missing key 'threshold' in clipping",
    ):
        assert expected in text


def test_mistake_in_a_parent_names_the_parent(write_config: Writer) -> None:
    parent = write_config("training: {epochs: 0}", "parent.yaml")
    child = write_config("extends: parent.yaml", "child.yaml")
    assert mistakes(child) == [f"{parent}:1:20: training.epochs: input should be greater than or equal to 1, not 0"]


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ("clipping: clipnorm", "write clipping: {mode: clipnorm}"),
        ("clipping: {mode: clip_norm, threshold: 1}", "did you mean 'clipnorm'?"),
        ("clipping: 3", "clipping holds keys, not 3"),
        ("clipping:", "clipping holds keys, not null"),
        ("clipping: [{mode: none}]", "clipping holds keys, not"),
        ("clipping: {mode: [a]}", "clipping.mode can't be"),
        ("clipping: {mode: {a: 1}}", "clipping.mode can't be"),
        ("clipping: {mode: null}", "clipping.mode can't be"),
        ("optimizer: {name: admm}", "did you mean 'adam'?"),
        ("optimizer: adam", "write optimizer: {name: adam}"),
        ("optimizer: true", "optimizer holds keys, not true"),
        ("model: true", "model holds keys, not true; known here: cell, units"),
        ("model: {regularizer: 1}", "model.regularizer holds keys, not 1; known here: l1, l2"),
    ],
)
@pytest.mark.parametrize(
    ("second", "also"),
    [
        ("learning_rate: 0.1", "unknown key 'learning_rate' in the config; did you mean optimizer.learning_rate?"),
        ("units: 3", "unknown key 'units' in the config; did you mean model.units?"),
        ("threshold: 3", "unknown key 'threshold' in the config; did you mean clipping.threshold?"),
        ("layers: {dense: 3}", "unknown key 'layers' in the config; did you mean clipping.layers?"),
        ("trainig: {}", "unknown key 'trainig' in the config; did you mean 'training'?"),
        ("training: {epochs: 0}", "training.epochs: "),
    ],
)
def test_two_ordinary_mistakes_together_are_both_told(
    first: str, told: str, second: str, also: str, write_config: Writer
) -> None:
    for text in (f"{first}\n{second}\n", f"{second}\n{first}\n"):
        path = write_config(text)
        problems = mistakes(path)
        assert len(problems) == 2
        assert all(problem.startswith(f"{path}:") for problem in problems)
        assert any(told in problem for problem in problems)
        assert any(also in problem for problem in problems)


def test_a_key_that_is_named_like_a_mode_is_not_taken_for_it(write_config: Writer) -> None:
    path = write_config("clipping: {mode: clipvalue, clipvalue: {threshold: 1}}")
    assert f"{path}:1:1: missing key 'threshold' in clipping (mode clipvalue needs it)" in mistakes(path)


def test_thousands_of_mistakes_are_told_briefly_and_soon(write_config: Writer) -> None:
    clock = time.perf_counter()
    told = mistakes(write_config("".join(f"key{number}: 1\n" for number in range(9000))))
    assert time.perf_counter() - clock < 5
    assert len(told) < 100
    assert "more mistakes" in told[-1]


BAD = {
    "not YAML": ("training: {epochs: [", "not valid YAML"),
    "a list": ("- 1", "expected keys with values"),
    "unknown key": ("nmae: x", "did you mean 'name'?"),
    "wrong type": ("training: {epochs: many}", "training.epochs"),
    "section is a number": ("training: 3", "training"),
    "zero threshold": ("clipping: {mode: clipnorm, threshold: 0}", "clipping.threshold: input should be greater than 0"),
    "negative threshold": ("clipping: {mode: clipnorm, threshold: -1}", "clipping.threshold: input should be greater than 0"),
    "NaN threshold": ("clipping: {mode: clipnorm, threshold: .nan}", "finite number"),
    "missing threshold": ("clipping: {mode: clipvalue}", "missing key 'threshold'"),
    "threshold for none": ("clipping: {mode: none, threshold: 1}", "where mode is none; modes with a threshold: clipvalue"),
    "threshold for autoclip": ("clipping: {mode: autoclip, threshold: 1}", "where mode is autoclip; modes with a threshold"),
    "layers for a joint rule": (
        "clipping: {mode: global_clipnorm, threshold: 1, layers: {dense: 5}}",
        "modes with thresholds of layers: clipvalue, clipnorm, agc",
    ),
    "a layer that isn't there": (
        "clipping: {mode: clipnorm, threshold: 1, layers: {dnse: 5}}",
        "clipping.layers can't be 'dnse'; did you mean 'dense'? Known: lstm, dense",
    ),
    "a layer of another cell": (
        "model: {cell: gru, units: [8, 4]}\nclipping: {mode: clipnorm, threshold: 1, layers: {lstm: 5}}",
        "Known: gru, gru_1, dense",
    ),
    "a layer's threshold of zero": ("clipping: {mode: clipnorm, threshold: 1, layers: {dense: 0}}", "greater than 0"),
    "percentile above 100": ("clipping: {mode: autoclip, percentile: 101}", "less than or equal to 100, not 101"),
    "percentile below 0": ("clipping: {mode: autoclip, percentile: -1}", "greater than or equal to 0, not -1"),
    "pool that doesn't divide": ("data: {pool: 3}", "data.pool can't be 3. Known: 1, 2, 4"),
    "an empty stack": ("model: {units: []}", "at least 1 item"),
    "units of nothing": ("model: {units: [32, 0]}", "greater than or equal to 1, not 0"),
    "forget bias of a gru": ("model: {cell: gru, forget_bias: 0}", "a gru has no forget gate"),
    "a mode without its key": ("clipping: clipnorm", 'clipping holds keys, not "clipnorm"; write clipping: {mode: clipnorm}'),
    "two modes": ("clipping: {mode: clipvalue, mode: clipnorm, threshold: 1}", "duplicate key 'mode'"),
    "two modes as keys": ("clipping: {clipvalue: 0.5, clipnorm: 1}", "Write clipping: {mode: clipvalue"),
    "unknown mode": ("clipping: {mode: clipnrom, threshold: 1}", "did you mean 'clipnorm'?"),
    "unknown optimizer": ("optimizer: {name: adan}", "did you mean 'adam'?"),
    "misspelt parameter": ("optimizer: {name: adam, beta1: 0.9}", "did you mean 'beta_1'?"),
    "clipping in the optimizer": ("optimizer: {name: adam, clipnorm: 1}", "Write clipping: {mode: clipnorm"),
    "moving average": ("optimizer: {name: adam, use_ema: true}", "unknown key 'use_ema'"),
    "duplicate key": ("training: {epochs: 1}\ntraining: {epochs: 2}", "duplicate key 'training' (first at"),
    "boolean for a number": ("training: {epochs: true}", "training.epochs"),
    "infinite rate": ("optimizer: {learning_rate: .inf}", "finite number"),
    "overflowing rate": ("optimizer: {learning_rate: 1e999}", "finite number"),
    "Python tag": ("name: !!python/object/apply:os.system ['true']", "Python tag"),
    "other tag": ("name: !secret x", "tag"),
    "name that leaves the folder": ("name: ../x", "it names a folder"),
    "name with a slash": ("name: a/b", "it names a folder"),
    "bare no as a name": ("name: no", "put it in quotes"),
    "no units": ("model: {units: 0}", "greater than or equal to 1"),
    "no epochs": ("training: {epochs: 0}", "greater than or equal to 1"),
    "no batch": ("data: {batch_size: 0}", "greater than or equal to 1"),
    "negative seed": ("training: {seed: -1}", "greater than or equal to 0"),
    "nothing left to train on": ("data: {holdout: 60000}", "holdout must leave training images"),
    "extends nothing": ("extends: nowhere.yaml", "there is no such file"),
    "extends a list": ("extends: [a, b]", 'extends one config, by file or shipped name, not ["a", "b"]'),
    "extends a section": ("extends: {mode: none}", 'extends one config, by file or shipped name, not {"mode": "none"}'),
    "extends nothing said": ("extends:", "extends one config, by file or shipped name, not null"),
    "extends a very long name": (f"extends: {'x' * 300}", "there is no such file"),
    "extends a name with a zero": ('extends: "a\\0b"', "there is no such file"),
    "empty": ("", "is empty"),
    "comments only": ("# nothing\n", "is empty"),
    "empty braces": ("{}", "is empty"),
    "a boolean that is none": ("engine: {jit: !!bool maybe}", "'maybe' is no bool"),
    "a timestamp that is none": ("name: !!timestamp x", "'x' is no timestamp"),
    "an integer that is none": ("training: {epochs: !!int x}", "'x' is no int"),
    "a float that is none": ("optimizer: {learning_rate: !!float x}", "'x' is no float"),
    "bytes": ("name: !!binary aGFsbG8=", "is not plain YAML"),
    "a number of 5,000 digits": (f"training: {{epochs: {'9' * 5000}}}", "an int of 5,000 letters"),
    "a hexadecimal number of 5,000 digits": (f"training: {{epochs: 0x{'f' * 5000}}}", "an int of 5,002 letters"),
    "a key of 1,000 letters": (f"{'k' * 1000}: 1", "unknown key"),
    "endless epochs": ("training: {epochs: 99999999999999999999}", "training.epochs: input should be less than or equal to"),
    "endless steps": ("training: {steps_per_epoch: 99999999999999999999}", "training.steps_per_epoch: input should be less"),
    "more steps than can be stored": (
        "training: {epochs: 1000000, steps_per_epoch: 1000000}",
        f"epochs times steps_per_epoch must be at most {MOST_STEPS:,}",
    ),
    "a seed of 20 digits": ("training: {seed: 99999999999999999999}", "less than or equal to 4294967295"),
    "endless units": ("model: {units: 99999999999999999999}", "model.units: input should be less than or equal to"),
    "endless units in a stack": ("model: {units: [3, 99999999999999999999]}", "model.units: input should be less than"),
    "a stack of 1,000 layers": (f"model: {{units: {[1] * 1000}}}", "at most"),
    "endless batches": ("data: {batch_size: 99999999999999999999}", "data.batch_size: input should be less than or equal to"),
    "an endless buffer": ("data: {shuffle_buffer: 99999999999999999999}", "data.shuffle_buffer: input should be less than"),
    "an endless holdout": ("data: {holdout: 99999999999999999999}", "holdout"),
    "an endless window": ("clipping: {mode: autoclip, window: 99999999999999999999}", "less than or equal to 100000"),
    "endless iterations": ("optimizer: {name: muon, ns_steps: 99999999999999999999}", "less than or equal to"),
    "an endless warm-up": ("optimizer: {name: schedulefreeadamw, warmup_steps: 99999999999999999999}", "less than or equal to"),
    "top-level key of a section": ("epochs: 3", "did you mean training.epochs?"),
    "second document": ("name: a\n---\nname: b", "not valid YAML"),
    "tab": ("training:\n\tepochs: 1", "not valid YAML"),
    "mapping as a key": ("{a: b}: c", "a key must be a plain word"),
    "bad date": ("name: 2020-99-99", ""),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_configs(case: str, write_config: Writer) -> None:
    text, expected = BAD[case]
    path = write_config(text)
    told = mistakes(path)
    assert all(line.startswith(f"{path}:") for line in told)
    assert expected in "\n".join(told)


def test_alias_bomb_is_refused_quickly(write_config: Writer) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "after expanding its aliases" in mistakes(write_config("\n".join(lines)))[0]


def test_recursive_alias_is_refused(write_config: Writer) -> None:
    assert "after expanding its aliases" in mistakes(write_config("model: &m {regularizer: *m}"))[0]


@pytest.mark.parametrize("text", ["name: " + "[" * 30_000, "{a: " * 30_000, "- " * 30_000, "? " * 30_000, "a: &a [\n" * 30_000])
def test_deep_nesting_is_refused(text: str, write_config: Writer) -> None:
    (told,) = mistakes(write_config(text))
    assert "nested over 50 deep" in told


@pytest.mark.parametrize("text", ["[" * 30_000, "{a: " * 30_000])
def test_deep_nesting_in_an_override_is_refused(text: str) -> None:
    (told,) = mistakes("none", f"training.epochs={text}")
    assert "nested over 50 deep" in told
    assert len(told) < 500
    (told,) = mistakes("none", f"{'.'.join('a' * 30_000)}=1")
    assert len(told) < 500


def test_aliases_that_nest_ever_deeper_are_refused(write_config: Writer) -> None:
    lines = ["a0: &a0 x"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 9000)]
    assert "after expanding its aliases" in mistakes(write_config("\n".join(lines)))[0]


def test_very_many_values_are_refused_before_they_are_read(write_config: Writer) -> None:
    clock = time.perf_counter()
    (many,) = mistakes(write_config("".join(f"k{number}: 1\n" for number in range(60_000))))
    assert "over 10,000 values" in many
    (large,) = mistakes(write_config("".join(f"k{number}: 1\n" for number in range(2_000_000))))
    assert "over 1,000,000 bytes" in large
    assert time.perf_counter() - clock < 6  # mostly to write the file


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_refused(kind: str, tmp_path: Path, write_config: Writer) -> None:
    path = tmp_path / "odd.yaml"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    assert mistakes(path) == [f"{path}: can't be read: not a regular file"]
    assert "odd.yaml: can't be read: not a regular file" in mistakes(write_config("extends: odd.yaml"))[0]


def test_a_folder_does_not_hide_a_shipped_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "none").mkdir()
    monkeypatch.chdir(tmp_path)
    assert loading.load("none").name == "none"


def test_a_name_too_long_for_a_file_is_no_config() -> None:
    assert "no such config" in mistakes("x" * 5000)[0]
    assert len(mistakes("x" * 5000)[0]) < 2000


def test_a_long_chain_of_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c0.yaml").write_text("extends: none")
    for number in range(1, 1501):
        (tmp_path / f"c{number}.yaml").write_text(f"extends: c{number - 1}.yaml")
    assert loading.load(str(tmp_path / "c10.yaml")).name == "c10"
    (told,) = mistakes(tmp_path / "c1500.yaml")
    assert "over 20 files deep" in told


def test_what_cannot_be_seen_is_written_out(write_config: Writer) -> None:
    (told,) = mistakes(write_config('"\\e[31m\\nred": 1'))
    assert "\x1b" not in told
    assert "\n" not in told


def test_extends_cycle_is_refused(write_config: Writer) -> None:
    write_config("extends: b.yaml", "a.yaml")
    write_config("extends: c.yaml", "b.yaml")
    path = write_config("extends: a.yaml", "c.yaml")
    assert "extends itself: c.yaml -> a.yaml -> b.yaml -> c.yaml" in mistakes(path)[0]


def test_binary_and_missing_files(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    assert "can't be read" in mistakes(binary)[0] or "not valid" in mistakes(binary)[0]
    assert "no such config; did you mean 'clipvalue'?" in mistakes(tmp_path / "clipvalu.yaml")[0]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("optimizer.rate=1", "--set optimizer.rate=1: unknown key 'rate' in optimizer"),
        ("nothing", "expected KEY.PATH=VALUE"),
        ("=3", "expected KEY.PATH=VALUE"),
        ("training.epochs=[", "not valid YAML"),
        ("training.epochs.deep=1", "training.epochs"),
        ("clipping.mode=clipnorm", "missing key 'threshold'"),
        ("name=../x", "it names a folder"),
        (
            "extends=adam/none",
            "--set extends=adam/none: extends stands in files only; name the other config in place of this one",
        ),
        ("extends.a=1", "extends stands in files only"),
        ("engine.jit=!!bool maybe", "--set engine.jit=!!bool maybe: 'maybe' is no bool"),
        ("name=!!timestamp x", "'x' is no timestamp"),
        ("training.epochs=3\nname: x", "expected one value"),
        ("training.epochs=99999999999999999999", "less than or equal to"),
    ],
)
def test_bad_settings(setting: str, expected: str) -> None:
    assert expected in mistakes("none", setting)[0]


def test_two_configs_of_one_name_are_refused(write_config: Writer) -> None:
    path = write_config("name: none\ntraining: {epochs: 3}")
    with pytest.raises(ConfigError, match="its name 'none' is taken"):
        loading.load_all(["none", str(path)])


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", [0, 1, 2]), ("0-3", [0, 1, 2, 3]), ("1,5,7", [1, 5, 7]), ("4-4", [4]), ("0-1,5", [0, 1, 5]), ("1,1", [1])],
)
def test_seed_lists(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text",
    [
        *("5-1", "0", "", "a", "1-", "-1", "1,,x", "1.5", "0-99999999999", ",", "100001", "\N{ARABIC-INDIC DIGIT THREE}"),
        *("9" * 5000, f"0-{'9' * 5000}", "4294967296-4294967297", "99999999999999999999,"),
        "0-49999,50000-99999,100000-149999",
    ],
)
def test_bad_seed_lists(text: str) -> None:
    with pytest.raises(ConfigError, match="--seeds") as caught:
        parse_seeds(text)
    assert len(str(caught.value)) < 300


def test_seeds_may_be_as_large_as_a_config_s() -> None:
    assert parse_seeds("4294967295,") == [4294967295]
    assert loading.load("none", ["training.seed=4294967295"]).training.seed == 4294967295
    with pytest.raises(ConfigError, match="seeds go up to 4,294,967,295"):
        parse_seeds("4294967296,")
    with pytest.raises(ConfigError, match="over 100,000 seeds"):
        parse_seeds("0-49999,50000-99999,100000-149999")


def test_known_keys_can_be_set() -> None:
    keys = loading.known_keys()
    assert {"optimizer.learning_rate", "clipping.threshold", "training.epochs", "model.regularizer.l2"} <= set(keys)
