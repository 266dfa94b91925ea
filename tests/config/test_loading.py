"""Configs: precedence, names, mistakes told with their place."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path

import pytest
import yaml
from conftest import Writer, mistakes

from gradclip_cli.config import loading
from gradclip_cli.config.article import ArticleConfig
from gradclip_cli.config.optimizers import OPTIMIZERS
from gradclip_cli.config.seeds import named_seeds, parse_seeds
from gradclip_cli.errors import ConfigError
from gradclip_cli.gradients.rules import RULES


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
    defaults = ArticleConfig(name="none").model_dump()
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


# Overrides are a set.


def test_stored_config_is_read_back_the_same(tmp_path: Path) -> None:
    for name in loading.shipped_names():
        loaded = loading.load(name, ["optimizer.learning_rate=1e-7"])
        path = tmp_path / "config.yaml"
        path.write_text(loading.to_yaml(loaded))
        assert loading.load_stored(path) == loaded
        assert path.read_text() == yaml.safe_dump(loaded.model_dump(mode="json"), sort_keys=False)


def test_stored_config_without_a_newer_key_is_filled_in(tmp_path: Path) -> None:
    content = loading.load("clipvalue").model_dump(mode="json")
    del content["model"]["recurrent_gain"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    assert loading.load_stored(path) == loading.load("clipvalue")


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


def test_extends_cycle_is_refused(write_config: Writer) -> None:
    write_config("extends: b.yaml", "a.yaml")
    write_config("extends: c.yaml", "b.yaml")
    path = write_config("extends: a.yaml", "c.yaml")
    assert "extends itself: c.yaml -> a.yaml -> b.yaml -> c.yaml" in mistakes(path)[0]


def test_binary_and_missing_files(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    assert mistakes(binary)[0].startswith(f"{binary}: can't be read: 'utf-8' codec can't decode byte 0xff")
    assert "no such config; did you mean 'clipvalue'?" in mistakes(tmp_path / "clipvalu.yaml")[0]
    (tmp_path / "mine.yaml").write_text("extends: none\n")
    assert mistakes(tmp_path / "mine.yml") == [f"{tmp_path / 'mine.yml'}: no such config; did you mean {tmp_path / 'mine.yaml'}?"]


@pytest.mark.parametrize(("given", "there"), [("mine", "mine.yaml"), ("mine.yaml", "mine.yml"), ("mine.yaml.yaml", "mine.yaml")])
def test_the_file_that_is_there_is_meant_rather_than_a_shipped_one(given: str, there: str, write_config: Writer) -> None:
    path = write_config("extends: none", there)
    assert mistakes(path.parent / given)[0].endswith(f"no such config; did you mean {path}?")
    extending = write_config(f"extends: {given}", "other.yaml")
    assert mistakes(extending) == [f"{extending}:1:10: extends '{given}', but there is no such file; did you mean '{there}'?"]


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


def test_seeds_are_named_in_short() -> None:
    assert [named_seeds(seeds) for seeds in ([3], [5, 3, 4], [0, 2])] == ["seed 3", "seeds 3-5", "seeds 0, 2"]


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


# Under which choices a section's keys are known; a section without a choice has one.
CHOICES: dict[str, list[list[str]]] = {
    "optimizer": [[], *([f"optimizer.name={name}"] for name in OPTIMIZERS)],
    "clipping": [[], *([f"clipping.mode={mode}"] for mode in RULES)],
    "data": [[], ["model.factory=model.py:build"]],
    "model": [[], ["model.factory=model.py:build"], ["model.file=model.keras"]],
    "loss": [[], ["model.factory=model.py:build"]],
    "metrics": [["model.factory=model.py:build"]],
    "records": [["model.factory=model.py:build"]],
}


@pytest.mark.parametrize("key", loading.known_keys())
def test_known_keys_can_be_set(key: str) -> None:
    """Each is known under one of the choices, and refused there for its value alone."""
    refusals = [mistakes("none", f"{key}=[]", *choice) for choice in CHOICES.get(key.partition(".")[0], [[]])]
    assert any(all(f"unknown key '{key.rpartition('.')[2]}'" not in line for line in refusal) for refusal in refusals)


def test_every_key_of_a_config_is_known() -> None:
    def leaves(content: object, path: str = "") -> list[str]:
        if not isinstance(content, dict):
            return [path]
        return [leaf for key, child in content.items() for leaf in leaves(child, f"{path}.{key}".lstrip("."))]

    assert set(leaves(loading.load("none").model_dump())) <= set(loading.known_keys())


# Which steps are recorded.

OWN = "data: {npz: a.npz}\nmodel: {factory: 'model.py:build'}\ntraining: {epochs: 2, steps_per_epoch: 120}\n"


def test_each_step_is_recorded_unless_a_config_says_otherwise(write_config: Writer) -> None:
    path = write_config(OWN)
    usual, said, other = (loading.load(str(path), given) for given in ([], ["records.every=1"], ["records.every=4"]))
    assert (usual, usual.recorded_every, other.recorded_every) == (said, 1, 4)
    assert other.name == "mine+records.every=4"
    assert loading.differences(usual, other)[1:] == [("records.every", 1, 4)]


@pytest.mark.parametrize(
    ("every", "told"),
    [
        (7, "records.every: 7 does not divide training.steps_per_epoch (120); write 6 or 8, or another number of steps"),
        (130, "records.every: 130 does not divide training.steps_per_epoch (120); write 120, or another number of steps"),
        (0, "records.every: input should be greater than or equal to 1, not 0"),
        (251, "records.every: input should be less than or equal to 250, not 251"),
    ],
)
def test_an_epoch_ends_with_a_recorded_step(every: int, told: str, write_config: Writer) -> None:
    path = write_config(f"{OWN}records: {{every: {every}}}\n")
    assert mistakes(path) == [f"{path}:4:18: {told}"]


def test_the_article_s_steps_are_all_recorded() -> None:
    assert loading.load("none").recorded_every == 1
    assert "unknown key 'records'" in mistakes("none", "records.every=4")[0]
