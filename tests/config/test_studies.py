"""A study's file: arms with their replicates and seeds, tests in families, and mistakes with their places."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gradclip_cli.config import loading, studies, study_file
from gradclip_cli.errors import ConfigError

STUDY = """
question: Does clipping make a run repeatable?
seen: Nothing.
power: Little.
seeds: 100-102
replicates: 3
arms:
  none: none
  clipvalue: clipvalue
  slow: {config: {extends: none, optimizer: {learning_rate: 0.005}}, seeds: [101], replicates: 1}
tests:
  - {family: primary, metric: repeatability, baseline: none, arms: [clipvalue]}
  - {family: why, metric: val_accuracy, baseline: none, arms: [clipvalue, slow]}
rules: {primary: The test says so., why: Description.}
"""


@pytest.fixture
def write(tmp_path: Path) -> Path:
    return tmp_path / "repeats.yaml"


def read(path: Path, text: str = STUDY) -> studies.Study:
    path.write_text(text)
    return studies.load(str(path))


def mistakes(path: Path, *changes: tuple[str, str]) -> list[str]:
    """What is said of the study with these changes, each place without the file's name."""
    text = STUDY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(ConfigError) as raised:
        read(path, text)
    return [problem.removeprefix(f"{path}:") for problem in raised.value.problems]


def test_arms_are_configs_with_replicates_and_seeds(write: Path) -> None:
    found = read(write)
    assert (found.name, found.seeds, found.families) == ("repeats", (100, 101, 102), ["primary", "why"])
    assert [(arm.name, arm.seeds, len(arm.configs), arm.runs) for arm in found.arms] == [
        ("none", (100, 101, 102), 3, 9),
        ("clipvalue", (100, 101, 102), 3, 9),
        ("slow", (101,), 1, 1),
    ]
    assert found.arms[2].configs[0].optimizer.learning_rate == 0.005
    assert [(test.family, test.metric, test.baseline, test.arm) for test in found.tests] == [
        ("primary", "repeatability", "none", "clipvalue"),
        ("why", "val_accuracy", "none", "clipvalue"),
        ("why", "val_accuracy", "none", "slow"),
    ]
    assert found.sha256 == hashlib.sha256(write.read_bytes()).hexdigest()


def test_replicates_are_the_arms_that_set_makes(write: Path) -> None:
    first, *others = read(write).arms[0].configs
    assert first == loading.load("none")
    assert others == [loading.load("none", [f"model.perturbation={value}"]) for value in ("1e-06", "2e-06")]


def test_the_documented_study_can_be_read(write: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "studies.md").read_text()
    found = read(write, page.partition("```yaml\n")[2].partition("```")[0])
    assert [(arm.name, len(arm.seeds), len(arm.configs)) for arm in found.arms] == [
        ("none", 30, 8),
        ("clipvalue", 30, 8),
        ("slow", 15, 8),
    ]


@pytest.mark.parametrize("name", loading.shipped_studies())
def test_shipped_studies_can_be_read(name: str) -> None:
    found = studies.load(name)
    assert found.name == name
    detectors = {study_file.DETECTORS} if found.detectors else set()
    assert {*found.families} | detectors == set(found.rules)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seeds: 100-102", "sedes: 100-102", "5:1: unknown key 'sedes' in the study; did you mean 'seeds'?"),
        ("power: Little.\n", "", "2:1: missing key 'power' in the study"),
        ("100-102", "9-1", "5:8: seeds: seeds 9-1: the range is empty; write its smaller seed first, or a count of at least 1"),
        ("replicates: 3", "replicates: 0", "6:13: replicates: input should be greater than or equal to 1"),
        ("replicates: 1", "repeats: 1", "10:84: unknown key 'repeats' in arms.slow; did you mean 'replicates'?"),
        ("none: none", "none: nonne", "8:9: extends 'nonne', but there is no such file; did you mean 'none'?"),
        ("none: none", "none: {config: 3}", "8:18: arms.none: expected a config's name, or a config's keys"),
        ("learning_rate: 0.005", "learning_rate: -1", "10:61: optimizer.learning_rate: input should be greater than 0, not -1"),
        ("arms: [clipvalue, slow]", "arms: [slaw]", "13:5: tests: no arm 'slaw' in this study; did you mean 'slow'?"),
        ("arms: [clipvalue, slow]", "arms: [none]", "13:5: tests: none is held against itself"),
        (", why: Description.", "", "13:5: tests: say in `rules` what decides why"),
    ],
)
def test_mistakes_are_told_with_their_places(old: str, new: str, told: str, write: Path) -> None:
    assert told in mistakes(write, (old, new))


DETECTORS = """detectors: {arms: [none], calibrated_on: 100-101, judged_on: [102], false_alarms: 2}
rules: {detectors: More than chance., """


def test_detectors_are_read_with_what_is_usual(write: Path) -> None:
    found = read(write, STUDY.replace("rules: {", DETECTORS)).detectors
    assert found is not None
    assert (found.arms, found.calibrated_on, found.judged_on) == (["none"], (100, 101), (102,))
    assert (found.horizon, found.early, found.false_alarms) == (100, 10, 2)
    assert read(write).detectors is None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("arms: [none], cal", "arms: [non], cal", "no arm 'non' in this study; did you mean 'none'?"),
        ("arms: [none], cal", "arms: [slow], cal", "slow has none of the seeds of judged_on"),
        ("judged_on: [102]", "judged_on: [101]", "seed 101 would judge what they fix"),
        ("false_alarms: 2", "horizon: 5", "early is 10, beyond the horizon of 5"),
        ("false_alarms: 2", "false_alarm: 2", "unknown key 'false_alarm' in detectors; did you mean 'false_alarms'?"),
        ("detectors: More than chance., ", "", "say in `rules` what decides, called detectors"),
    ],
)
def test_mistakes_of_detectors_are_told_with_their_places(old: str, new: str, told: str, write: Path) -> None:
    [mistake] = mistakes(write, ("rules: {", DETECTORS.replace(old, new)))
    assert mistake.startswith("14:")
    assert mistake.endswith(told)


def test_mistakes_of_all_arms_are_told_at_once(write: Path) -> None:
    found = mistakes(write, ("clipvalue: clipvalue", "clipvalue: clipvalu"), ("learning_rate: 0.005", "learning_rate: -1"))
    assert len(found) == 2


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no such study"):
        studies.load("no-such-study")
