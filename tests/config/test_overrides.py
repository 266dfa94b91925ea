"""Overrides are a set: whatever their order they say the same, and what they reset is told."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from conftest import Writer, mistakes
from hypothesis import given
from hypothesis import strategies as st

from gradclip_cli.config import loading
from gradclip_cli.config.schema import Config
from gradclip_cli.errors import ConfigError


def test_overrides_name_the_arm() -> None:
    assert loading.load("clipvalue", ["optimizer.learning_rate=0.1"]).name == "clipvalue+optimizer.learning_rate=0.1"
    assert loading.load("clipvalue", ["optimizer.learning_rate=0.01"]).name == "clipvalue"
    assert loading.load("clipvalue", ["training.seed=4"]).name == "clipvalue"
    assert loading.load("clipvalue", ["name=other", "training.epochs=1"]).name == "other"
    reordered = [
        loading.load("none", settings).name for settings in (["data.scale=1", "model.units=4"], ["model.units=4", "data.scale=1"])
    ]
    assert reordered[0] == reordered[1]


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


@given(st.sampled_from([0.1, 1e-5, 3.0, 1e22]), st.sampled_from(["{}", "{:e}", "{:.0e}"]))
def test_numbers_in_any_notation(value: float, notation: str) -> None:
    text = notation.format(value)
    assert loading.load("none", [f"optimizer.learning_rate={text}"]).optimizer.learning_rate == float(text)


@pytest.mark.parametrize("text", ["[" * 30_000, "{a: " * 30_000])
def test_deep_nesting_in_an_override_is_refused(text: str) -> None:
    (told,) = mistakes("none", f"training.epochs={text}")
    assert "nested over 50 deep" in told
    assert len(told) < 500
    (told,) = mistakes("none", f"{'.'.join('a' * 30_000)}=1")
    assert len(told) < 500


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("optimizer.rate=1", "--set optimizer.rate=1: unknown key 'rate' in optimizer"),
        ("nothing", "expected KEY.PATH=VALUE"),
        ("=3", "expected KEY.PATH=VALUE"),
        ("training.epochs=[", "not valid YAML"),
        ("training.epochs.deep=1", "training.epochs: "),
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
