"""Configs: precedence, names, mistakes told with their place."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gradclip_cli import config
from gradclip_cli.errors import ConfigError
from gradclip_cli.schema import OPTIMIZERS, Config

Writer = Callable[..., Path]


def mistakes(path: Path | str, *settings: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.load(str(path), settings)
    assert caught.value.exit_code == 2
    return list(caught.value.problems)


def test_shipped_configs_load_and_differ_from_none_in_what_they_say() -> None:
    loaded = {name: config.load(name) for name in config.shipped_names()}
    assert {"none", "clipnorm", "clipvalue", "global_clipnorm", "adam/none", "adam/clipnorm", "adam/clipvalue"} <= set(loaded)
    assert loaded["clipnorm"].threshold == 1.0
    assert loaded["clipvalue"].threshold == 0.5
    changed = {key for key, *_ in config.differences(loaded["none"], loaded["clipvalue"])}
    assert changed == {"name", "clipping.mode", "clipping.threshold"}
    assert loaded["adam/clipnorm"].optimizer.name == "adam"


def test_base_config_is_complete_and_says_the_defaults() -> None:
    written = yaml.safe_load((config.shipped_directory() / "none.yaml").read_text())
    defaults = Config(name="none").model_dump()
    assert written == defaults
    assert list(written) == list(defaults)


def test_a_later_override_replaces_a_choice_whole() -> None:
    chosen = config.load("none", ["clipping={mode: autoclip, window: 50}", "clipping={mode: clipnorm, threshold: 2}"])
    assert chosen.clipping.label == "clipnorm 2"


def test_schema_file_is_fresh_and_named_by_every_config() -> None:
    folder = config.shipped_directory()
    assert json.loads((folder / "schema.json").read_text()) == config.json_schema()
    for name in config.shipped_names():
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
    loaded = config.load(str(child), ["training.epochs=4"])
    assert (loaded.training.epochs, loaded.training.steps_per_epoch, loaded.optimizer.learning_rate) == (4, 7, 0.001)
    assert loaded.name == "child+training.epochs=4"


def test_another_choice_replaces_its_section_whole(write_config: Writer) -> None:
    write_config(
        "optimizer: {name: sgd, momentum: 0.9}\nmodel: {cell: lstm, units: 30}\nclipping: {mode: clipnorm, threshold: 3}",
        "a.yaml",
    )
    child = write_config("extends: a.yaml\noptimizer: {name: adam}\nmodel: {cell: gru}\nclipping: {mode: none}", "b.yaml")
    loaded = config.load(str(child))
    assert loaded.optimizer.parameters().get("momentum") is None
    assert loaded.model.units == 10
    assert loaded.threshold is None
    kept = write_config("extends: a.yaml\noptimizer: {name: sgd, nesterov: true}", "c.yaml")
    assert config.load(str(kept)).optimizer.parameters()["momentum"] == 0.9


def test_overrides_name_the_arm() -> None:
    assert config.load("clipvalue", ["optimizer.learning_rate=0.1"]).name == "clipvalue+optimizer.learning_rate=0.1"
    assert config.load("clipvalue", ["optimizer.learning_rate=0.01"]).name == "clipvalue"
    assert config.load("clipvalue", ["training.seed=4"]).name == "clipvalue"
    assert config.load("clipvalue", ["name=other", "training.epochs=1"]).name == "other"
    reordered = [
        config.load("none", settings).name for settings in (["data.scale=1", "model.units=4"], ["model.units=4", "data.scale=1"])
    ]
    assert reordered[0] == reordered[1]


def test_stored_config_is_read_back_the_same(tmp_path: Path) -> None:
    for name in config.shipped_names():
        loaded = config.load(name, ["optimizer.learning_rate=1e-7"])
        path = tmp_path / "config.yaml"
        path.write_text(config.to_yaml(loaded))
        assert config.load_stored(path) == loaded


def test_stored_config_without_a_newer_key_is_filled_in(tmp_path: Path) -> None:
    content = config.load("clipvalue").model_dump(mode="json")
    del content["model"]["recurrent_gain"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    assert config.load_stored(path) == config.load("clipvalue")


@given(st.sampled_from([0.1, 1e-5, 3.0, 1e22]), st.sampled_from(["{}", "{:e}", "{:.0e}"]))
def test_numbers_in_any_notation(value: float, notation: str) -> None:
    text = notation.format(value)
    assert config.load("none", [f"optimizer.learning_rate={text}"]).optimizer.learning_rate == float(text)


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
    "extends a list": ("extends: [a, b]", "there is no such file"),
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


def test_deep_nesting_is_refused(write_config: Writer) -> None:
    assert mistakes(write_config("name: " + "[" * 5000 + "]" * 5000))


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
    ],
)
def test_bad_settings(setting: str, expected: str) -> None:
    assert expected in mistakes("none", setting)[0]


def test_two_configs_of_one_name_are_refused(write_config: Writer) -> None:
    path = write_config("name: none\ntraining: {epochs: 3}")
    with pytest.raises(ConfigError, match="its name 'none' is taken"):
        config.load_all(["none", str(path)])


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", [0, 1, 2]), ("0-3", [0, 1, 2, 3]), ("1,5,7", [1, 5, 7]), ("4-4", [4]), ("0-1,5", [0, 1, 5]), ("1,1", [1])],
)
def test_seed_lists(text: str, seeds: list[int]) -> None:
    assert config.parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["5-1", "0", "", "a", "1-", "-1", "1,,x", "1.5", "0-99999999999", ","])
def test_bad_seed_lists(text: str) -> None:
    with pytest.raises(ConfigError, match="--seeds"):
        config.parse_seeds(text)


def test_known_keys_can_be_set() -> None:
    keys = config.known_keys()
    assert {"optimizer.learning_rate", "clipping.threshold", "training.epochs", "model.regularizer.l2"} <= set(keys)
