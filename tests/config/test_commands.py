"""The words of a script's command: placeholders filled, and each mistake told with its place."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Writer, mistakes

from gradclip_cli.config import loading
from gradclip_cli.config.commands import filled, placeholders
from gradclip_cli.config.recorded import RecordedConfig

VALUES: dict[str, Any] = {"clip": 1.0, "small": 1e-05, "many": 3, "yes": True, "no": False, "nothing": None, "text": "a b"}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("train.py", "train.py"),
        ("{clip}", "1.0"),
        ("--clip={clip}/{many}", "--clip=1.0/3"),
        ("{small}", "1e-05"),
        ("{yes} {no} {nothing}", "true false null"),
        ("{text}", "a b"),
        ('{{"a": {many}}}', '{"a": 3}'),
        ("{{clip}}", "{clip}"),
    ],
)
def test_a_word_is_filled_as_yaml_writes_values(word: str, expected: str) -> None:
    assert filled(word, VALUES) == expected


def test_placeholders_are_named_in_their_order() -> None:
    assert placeholders("{b}{{c}}{a}{b}") == ["b", "a", "b"]
    assert placeholders("none") == []


def test_a_command_gets_each_run_s_seed(write_config: Writer) -> None:
    path = write_config('command: [python, train.py, "{seed}", "--clip={clip}"]\nvalues: {clip: 0.5}')
    config = loading.load(str(path), ["values.clip=2"])
    assert isinstance(config, RecordedConfig)
    assert config.name == "mine+values.clip=2"
    assert config.words == ["python", "train.py", "0", "--clip=2"]
    seventh = config.with_seed(7)
    assert isinstance(seventh, RecordedConfig)
    assert seventh.words[2] == "7"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('command: [go, "{seed}", "{clpi}"]\nvalues: {clip: 1}', [
            "1:25: command: {clpi} has no value; did you mean {clip}?",
            "2:10: values.clip: no word of `command` has {clip}",
        ]),
        ('command: [go, "{seed}", "{x}"]', [
            "1:25: command: {x} has no value; say values: {x: ...}, or write {{ and }} for braces.",
        ]),
        ("command: go --seed 3", [
            '1:10: command: write a list of words: ["go", "--seed", "3", "--seed", "{seed}"], not "go --seed 3"',
        ]),
        ("command: go 'my file.py' {seed}", [
            '1:10: command: write a list of words: ["go", "my file.py", "{seed}"], not "go \'my file.py\' {seed}"',
        ]),
        ("command: go 'my", ['1:10: command: write a list of words: ["go", "\'my", "--seed", "{seed}"], not "go \'my"']),
        ("command: [go]", ["1:10: command: no word has {seed}, so that all seeds would be one run; hand it to the script"]),
        ('command: [go, "{seed}"]\nvalues: {seed: 3}', ["2:10: values.seed: {seed} is each run's own; give yours another name"]),
        ('command: [go, "{seed:03}"]', ["1:15: command: '{seed:03}' has more than a name in its braces; write {seed} alone"]),
        ('command: [go, "{seed!r}"]', ["1:15: command: '{seed!r}' has more than a name in its braces; write {seed} alone"]),
        ('command: [go, "{}"]', [
            "1:15: command: '{}' has braces without a name; write {seed} or {NAME}, or {{ and }} for braces that are meant",
        ]),
        ('command: [go, "{seed"]', ["1:15: command: '{seed' has a brace alone; write {{ or }} for one that is meant"]),
        ('command: [go, {seed}]', [
            '1:15: command: input should be a valid string (YAML reads bare braces as keys: put them in quotes, as in "{seed}")',
        ]),
        ('command: [go, "{seed}", 3]', ["1:25: command: input should be a valid string, not 3"]),
        ('command: [go, "{seed}", "{a}", "{b}"]\nvalues: {a: [1, 2], b: .inf}', [
            "2:13: values.a: a placeholder stands for one text, number, true, false or null; give each its own, not [1, 2]",
            "2:24: values.b: not a finite number; write the text that the script is to get, such as \"inf\", not inf",
        ]),
        ('command: [go, "{seed}"]\noptimizer: {name: adam}', [
            "2:12: optimizer: is seen by the recorder in the script, and can't be said",
        ]),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(text: str, expected: list[str], write_config: Writer) -> None:
    path = write_config(text)
    assert mistakes(path) == [f"{path}:{line}" for line in expected]


def test_what_an_override_says_is_told_by_it(write_config: Writer) -> None:
    path = write_config('command: [go, "{seed}"]')
    assert mistakes(path, "values.clip=1") == ["--set values.clip=1: values.clip: no word of `command` has {clip}"]


def test_no_other_framework_can_be_asked_for(write_config: Writer) -> None:
    path = write_config('command: [go, "{seed}"]')
    with pytest.raises(loading.ConfigError, match=r"^--framework: .* trains by a script of its own"):
        loading.read(str(path), framework="any")
