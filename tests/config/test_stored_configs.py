"""Stored configs: those that are known from another run's text are what parsing each by itself gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradclip_cli.config import loading
from gradclip_cli.config.schema import Config
from gradclip_cli.config.stored import StoredConfigs, split_seed
from gradclip_cli.errors import ConfigError
from gradclip_cli.limits import MOST_SEED

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = "kind: recorded\ncommand: [python, train.py, '{seed}']\n"


def configs(tmp_path: Path) -> list[Config]:
    """One of each kind: the article's, of one's own problem, of a script."""
    (tmp_path / "mine.yaml").write_text(SCRIPT)
    names = ("clipvalue", str(EXAMPLES / "table" / "config.yaml"), str(tmp_path / "mine.yaml"))
    return [loading.load(name) for name in names]


def test_a_text_with_another_seed_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = StoredConfigs()
    for config in configs(tmp_path):
        texts = {seed: loading.to_yaml(config.with_seed(seed)).encode() for seed in (0, 7, MOST_SEED)}
        paths = {seed: tmp_path / config.name / f"seed-{seed}" / "config.yaml" for seed in texts}
        expected = {seed: loading.parse_stored(text, paths[seed]) for seed, text in texts.items()}
        known.parse(texts[0], paths[0])
        with monkeypatch.context() as patched:
            patched.setattr(loading, "parse_stored", lambda *_: pytest.fail("parsed again"))
            found = {seed: known.parse(text, paths[seed]) for seed, text in texts.items()}
        assert found == expected
        assert [each.model_dump() for each in found.values()] == [each.model_dump() for each in expected.values()]
        assert [getattr(each, "folder", "") for each in found.values()] == [
            getattr(each, "folder", "") for each in expected.values()
        ]


@pytest.mark.parametrize(
    "text",
    [
        b"name: mine\ntraining:\n  seed: 4294967296\n",
        b"name: mine\ntraining:\n  seed: 017\n",
        b"name: mine\ntraining:\n  epochs: 2\n  seed: 3 # three\n",
        b"name: mine\ntraining: {seed: 3}\n",
        b"name: mine\ntraining:\n  seed: 3\ntraining:\n  seed: 4\n",
        b"name: mine\n",
        b"\xff\ntraining:\n  seed: 5\n",
        b"",
    ],
)
def test_what_is_not_as_it_was_stored_is_parsed_by_itself(text: bytes, tmp_path: Path) -> None:
    known = StoredConfigs()
    known.parse(b"name: mine\ntraining:\n  seed: 0\n", tmp_path / "config.yaml")

    def outcome(parse: object) -> object:
        try:
            return parse(text, tmp_path / "config.yaml")  # type: ignore[operator]
        except ConfigError as error:
            return str(error)

    assert outcome(known.parse) == outcome(loading.parse_stored)
    assert outcome(known.parse) == outcome(loading.parse_stored)


def test_a_text_is_put_together_again() -> None:
    text = loading.to_yaml(loading.load("clipnorm", ["training.seed=12"])).encode()
    (before, after), seed = split_seed(text)
    assert after is not None
    assert before + str(seed).encode() + after == text
    assert split_seed(b"name: x\n") == ((b"name: x\n", None), 0)
