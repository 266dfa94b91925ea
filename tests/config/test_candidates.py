"""Tuned arms and matrices in a study's file: candidates, finer ones, what the best becomes, and mistakes with their places."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradclip_cli.config import loading, studies
from gradclip_cli.config.candidates import Tuned
from gradclip_cli.errors import ConfigError

TUNED = """
question: Is clipping better at its best?
seen: Nothing.
power: Little.
seeds: 100-102
tuning: {seeds: 0-1, holdout: 1000, refine: 1.5}
arms:
  none: {config: none, grid: {optimizer.learning_rate: [0.1, 0.4]}}
  clipnorm: {config: clipnorm, grid: {clipping.threshold: [0.5, 1], optimizer.learning_rate: [0.4, 0.1, 1.6]}}
  again: {config: none, grid: {optimizer.learning_rate: [0.1, 0.4]}, tuning_seeds: 2-3, holdout: 500}
tests:
  - {family: best, metric: val_accuracy, baseline: none, arms: [clipnorm]}
rules: {best: The test says so.}
"""
CROSSED = """
question: When does clipping help?
seen: Nothing.
power: Little.
seeds: 100-102
success: val_accuracy >= 0.6
tuning: {seeds: 0-1, holdout: 1000}
matrix:
  family: help
  baseline: none
  rules: {none: {mode: none}, clipnorm: {mode: clipnorm, threshold: 1}, agc: {mode: agc}}
  problems:
    lstm: {config: clipvalue, metric: val_accuracy, about: rows, grid: {optimizer.learning_rate: [0.1, 0.4]}}
    gru:
      {config: {extends: none, model: {cell: gru}}, metric: loss, success: loss <= 0.5, rules: [none, clipnorm], seeds: 100-101}
rules: {help: The test says so.}
"""


def read(path: Path, text: str) -> studies.Study:
    path.write_text(text)
    return studies.load(str(path))


def tuned(path: Path, arm: str, text: str = TUNED) -> Tuned:
    [found] = [each for each in read(path, text).tuned if each.arm == arm]
    return found


def mistakes(path: Path, text: str, old: str, new: str) -> list[str]:
    assert old in text
    with pytest.raises(ConfigError) as raised:
        read(path, text.replace(old, new))
    return [problem.removeprefix(f"{path}:") for problem in raised.value.problems]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def test_candidates_are_the_grid_on_a_holdout(path: Path) -> None:
    found = tuned(path, "clipnorm")
    assert [each.label for each in found.candidates[:3]] == [
        "threshold 0.5, learning rate 0.1",
        "threshold 0.5, learning rate 0.4",
        "threshold 0.5, learning rate 1.6",
    ]
    assert found.candidates[4].config.name == "clipnorm+clipping.threshold=1+optimizer.learning_rate=0.4"
    assert {each.config.data.holdout for each in found.candidates} == {1000}
    settings = ["clipping.threshold=1", "optimizer.learning_rate=0.4", "data.holdout=1000", "name=any"]
    expected = loading.load("clipnorm", settings)
    assert found.candidates[4].config.model_copy(update={"name": "any"}) == expected
    assert found.seeds == (0, 1)


def test_an_arm_may_have_seeds_and_holdout_of_its_own(path: Path) -> None:
    found = tuned(path, "again")
    assert (found.seeds, found.candidates[0].config.data.holdout) == ((2, 3), 500)


def test_finer_candidates_stand_on_both_sides_of_the_best(path: Path) -> None:
    found = tuned(path, "clipnorm")
    best = found.candidates[4]
    assert [each.config.optimizer.learning_rate for each in found.beside(best)] == [0.2667, 0.6]
    assert {each.config.clipping.threshold for each in found.beside(best)} == {1.0}
    assert found.at_edge(found.candidates[3])
    assert not found.at_edge(best)
    assert tuned(path, "none", TUNED.replace(", refine: 1.5", "")).beside(best) == []


def test_the_best_is_the_arm_on_all_that_there_is_to_train_on(path: Path) -> None:
    found = tuned(path, "clipnorm")
    settings = ["clipping.threshold=0.5", "optimizer.learning_rate=1.6"]
    assert found.settled(found.candidates[2]) == loading.load("clipnorm", [*settings, "name=clipnorm"])


def test_an_arm_has_no_config_before_it_is_chosen(path: Path) -> None:
    study = read(path, TUNED)
    assert [arm.configs for arm in study.arms] == [(), (), ()]
    chosen = {each.arm: each.settled(each.candidates[0]) for each in study.tuned}
    assert [arm.configs for arm in study.settled(chosen).arms] == [(config,) for config in chosen.values()]


def test_a_matrix_crosses_problems_with_rules(path: Path) -> None:
    study = read(path, CROSSED)
    arms = {arm.name: arm for arm in study.arms}
    assert list(arms) == ["lstm.none", "lstm.clipnorm", "lstm.agc", "gru.none", "gru.clipnorm"]
    assert [(test.family, test.metric, test.baseline, test.arm) for test in study.tests] == [
        ("help", "val_accuracy", "lstm.none", "lstm.clipnorm"),
        ("help", "val_accuracy", "lstm.none", "lstm.agc"),
        ("help", "loss", "gru.none", "gru.clipnorm"),
    ]
    [gru] = arms["gru.clipnorm"].configs
    assert (gru.model.cell, gru.clipping.mode, arms["gru.clipnorm"].seeds) == ("gru", "clipnorm", (100, 101))
    lstm = arms["lstm.none"].tuned
    assert lstm is not None
    assert {each.config.clipping.mode for each in lstm.candidates} == {"none"}  # and not the problem's own rule
    assert study.matrix is not None
    assert study.matrix.problems == {"lstm": "rows", "gru": ""}


def test_a_success_is_the_studys_or_the_problems(path: Path) -> None:
    bars = read(path, CROSSED).bars
    assert (str(bars["lstm.agc"]), str(bars["gru.none"])) == ("val_accuracy >= 0.6", "loss <= 0.5")


def test_the_documented_grids_and_matrix_can_be_read(path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "studies.md").read_text()
    _, grids, crossed, _ = [part.partition("```")[0] for part in page.split("```yaml\n")[1:]]
    (path.parent / "mine.yaml").write_text("extends: none\nname: mine\n")
    said = "question: What?\nseen: Nothing.\npower: Little.\nseeds: 100-102\n"
    tests = "tests: [{family: best, metric: val_accuracy, baseline: none, arms: [clipnorm]}]\nrules: {best: The test.}\n"
    study = path.with_name("documented.yaml")
    assert [len(each.candidates) for each in read(study, said + grids + tests).tuned] == [3, 6, 6]
    tuning = grids.partition("\n")[0] + "\n"
    arms = [arm.name for arm in read(study, said + tuning + crossed).arms]
    assert arms == ["images.none", "images.clipnorm", "images.agc", "mine.none", "mine.clipnorm"]


@pytest.mark.parametrize(
    ("text", "old", "new", "told"),
    [
        (TUNED, "tuning: {seeds: 0-1, holdout: 1000, refine: 1.5}\n", "", "none has a grid; say in `tuning`"),
        (TUNED, "seeds: 0-1,", "seeds: 99-101,", "none is tuned and judged on seeds 100-101; no seed may be used twice"),
        (TUNED, "holdout: 1000", "holdout: 0", "tuning.holdout: input should be greater than or equal to 1"),
        (TUNED, "refine: 1.5", "refine: 1", "tuning.refine: input should be greater than 1"),
        (TUNED, "refine: 1.5", "finer: 2", "unknown key 'finer' in tuning"),
        (TUNED, "clipping.threshold: [0.5, 1]", "clipping.threshold: [-1]", "clipping.threshold: input should be greater than 0"),
        (TUNED, "optimizer.learning_rate: [0.1, 0.4]}, tuning", "optimizer.name: [sgd, adam]}, tuning", "only numbers can be"),
        (TUNED, "grid: {clipping.threshold: [0.5, 1], ", "grid: {data.holdout: [5], ", "grid.data.holdout can't be swept over"),
        (CROSSED, "rules: [none, clipnorm]", "rules: [none, clipnorn]", "matrix: no rule 'clipnorn'; did you mean 'clipnorm'?"),
        (CROSSED, "rules: [none, clipnorm]", "rules: [clipnorm]", "matrix: gru: the baseline 'none' is not among the rules"),
        (CROSSED, "rules: {help: The test says so.}", "rules: {}", "matrix: say in `rules` what decides help"),
        (CROSSED, "metric: loss, ", "", "missing key 'metric' in matrix.problems.gru"),
        (CROSSED, "mode: agc", "mode: agd", "clipping.mode"),
        (CROSSED, "success: loss <= 0.5", "success: loss < 0.5", "matrix.problems.gru.success: "),
        (CROSSED, "success: loss <= 0.5", "success: loss <= 1-2", "such as val_accuracy >= 0.99, not 'loss <= 1-2'"),
    ],
)
def test_mistakes_are_told(text: str, old: str, new: str, told: str, path: Path) -> None:
    assert any(told in mistake for mistake in mistakes(path, text, old, new)), mistakes(path, text, old, new)
