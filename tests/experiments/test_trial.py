"""What a trial leaves: configs as somebody would write them, and which of them to go on from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from conftest import store_run

from gradclip_cli.config import loading
from gradclip_cli.config.own import OwnConfig, OwnData, OwnModel, Records
from gradclip_cli.evidence import comparison
from gradclip_cli.evidence.metrics import DEFAULT_METRIC
from gradclip_cli.evidence.questions import Question
from gradclip_cli.experiments import trial
from gradclip_cli.experiments.trial import write_configs

CLIPPED = ["clipping={mode: clipnorm, threshold: 1}"]


def to_go_on_from(results: Path, ends: dict[str, float], seeds: int) -> str:
    """The arm of the config that is named in the end, where runs end at these losses, each seed a little higher."""
    for arm, end in ends.items():
        for seed in range(seeds):
            settings = [] if arm == "none" else CLIPPED
            store_run(results, arm, seed, [2.0, 1.5, end + seed / 100], settings=settings)
    configs = [loading.load("none").model_copy(update={"name": arm}) for arm in ends]
    compared = comparison.compare(results, list(ends), "none", Question("loss"))
    return trial.to_go_on_from(compared, configs).name


@pytest.mark.parametrize(
    ("model", "folder"),
    [
        ("train.py:build", "train"),
        ("models/train.py:small", "train-small"),
        ("saved.keras", "saved"),
        ("none", "try-none"),
        ("explode/none", "try-explode-none"),
        ("configs/mine.yaml", "try-mine"),
    ],
)
def test_a_try_s_folder_is_named_after_its_model_and_never_as_an_arm_of_a_config(model: str, folder: str) -> None:
    assert trial.folder_name(model) == folder


@pytest.mark.parametrize("seeds", [2, 10])
def test_the_arm_that_did_best_is_to_go_on_from(seeds: int, results: Path) -> None:
    assert to_go_on_from(results, {"none": 1.0, "a": 0.8, "best": 0.6, "last": 0.9}, seeds) == "best"


@pytest.mark.parametrize("other", [1.0, 1.1])
def test_where_no_arm_did_better_the_unclipped_one_is(other: float, results: Path) -> None:
    assert to_go_on_from(results, {"none": 1.0, "a": other, "last": 1.2}, 2) == "none"


def on_yours(results: Path, ends: dict[str, float]) -> str | None:
    """What is told of `yours`, where runs end at these losses on eight seeds, each a little higher."""
    for arm, end in ends.items():
        for seed in range(8):
            store_run(results, arm, seed, [2.0, 1.5, end + seed / 100], settings=[] if arm == "none" else CLIPPED)
    configs = [loading.load("clipnorm").model_copy(update={"name": arm}) for arm in ends]
    return trial.on_yours(comparison.compare(results, list(ends), "none", Question("loss")), configs)


def test_where_another_arm_is_the_answer_yours_is_answered_too(results: Path) -> None:
    told = on_yours(results, {"none": 1.0, "yours": 1.0, "other": 0.6})
    assert told == "Yours, clipnorm 1: no difference shown, typically 0.000 nats."


@pytest.mark.parametrize(
    "ends", [{"none": 1.0, "yours": 0.6, "other": 0.8}, {"none": 1.0, "yours": 1.0}, {"none": 1.0, "other": 0.6}]
)
def test_where_yours_is_the_answer_or_none_is_nothing_is_added(ends: dict[str, float], results: Path) -> None:
    assert on_yours(results, ends) is None


def test_the_plan_names_the_split_that_is_evaluated() -> None:
    configs = [loading.load("none"), loading.load("clipnorm")]
    assert "compared by holdout accuracy (higher" in trial.plan_sentence(configs, 8, DEFAULT_METRIC, "holdout")


@pytest.mark.parametrize(("every", "said"), [(1, None), (5, {"every": 5})])
def test_a_config_says_what_is_recorded_where_that_is_not_each_step(every: int, said: object, tmp_path: Path) -> None:
    """One that an earlier gradclip wrote, which had no such key, is then still the same file."""
    data, model = OwnData(npz="x.npz"), OwnModel(factory="model.py:build")
    [path] = write_configs([OwnConfig(name="arm", data=data, model=model, records=Records(every=every))], tmp_path)
    assert yaml.safe_load(path.read_text()).get("records") == said
