"""Whose code a script's command names: hashes by its words, without running any of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from gradclip_cli.config import loading
from gradclip_cli.config.recorded import RecordedConfig
from gradclip_cli.errors import ConfigError
from gradclip_cli.problems import identified


def sources(folder: Path, *words: str, **values: str) -> dict[str, str]:
    """The hashes that a command gets, started in a folder."""
    config = config_in(folder, *words, **values)
    found = identified(config)
    assert isinstance(found, RecordedConfig)
    return found.sources


def config_in(folder: Path, *words: str, **values: str) -> RecordedConfig:
    (folder / "mine.yaml").write_text(json.dumps({"command": [*words, "{seed}"], "values": values}))
    config = loading.load(str(folder / "mine.yaml"))
    assert isinstance(config, RecordedConfig)
    return config


def test_the_files_that_words_name_are_hashed(tmp_path: Path) -> None:
    files = {"train.py": "raise SystemExit('was run')", "a/b.yaml": "rate: 1", "c.json": "{}", "run-0.txt": "a run's own"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    words = ["python", "train.py", "a/{which}.yaml", "--config=c.json", "no-file", "run-{seed}.txt", str(tmp_path / "c.json")]
    found = sources(tmp_path, *words, which="b")
    assert set(found) == {"train.py", "a/b.yaml", "c.json"}
    assert found["c.json"] == hashlib.sha256(b"{}").hexdigest()


def test_what_a_script_imports_beside_it_belongs_to_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import numpy\nimport model")
    (tmp_path / "model.py").write_text("units = 1")
    (tmp_path / "other.py").write_text("units = 1")
    first = sources(tmp_path, "python", "train.py")
    (tmp_path / "other.py").write_text("units = 2")
    assert sources(tmp_path, "python", "train.py") == first
    (tmp_path / "model.py").write_text("units = 2")
    assert sources(tmp_path, "python", "train.py") != first


def test_a_module_is_found_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "train.py").write_text("units = 1")
    assert set(sources(tmp_path, "python", "-m", "package.train")) == {"package.train"}
    assert sources(tmp_path, "python", "-m", "json.tool") == {}


def test_what_this_python_can_t_read_is_hashed_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print 'of long ago'")
    assert sources(tmp_path, "sh", "train.py") == {"train.py": hashlib.sha256(b"print 'of long ago'").hexdigest()}


def test_a_program_beside_the_config_is_one_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_text("exit")
    (tmp_path / "train.sh").chmod(0o755)
    assert set(sources(tmp_path, "./train.sh")) == {"./train.sh"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["python", "trian.py"], r"there is no script trian\.py in "),
        (["no-such-program"], r"there is no program no-such-program to start; none on the PATH is called so"),
        (["./no-such-program"], r"there is no program \./no-such-program to start; paths are relative to "),
        (["train.sh"], r"there is no program train\.sh to start; write \./train\.sh for the file beside the config"),
        (["./train.sh"], r"there is no program \./train\.sh to start; .* is not executable"),
    ],
)
def test_what_can_t_be_started_is_told_before_anything_is(words: list[str], told: str, tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_text("exit")
    with pytest.raises(ConfigError, match=f"^command: {told}"):
        sources(tmp_path, *words)


def test_a_config_that_names_its_sources_is_held_to_them(tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_text("exit")
    config = identified(config_in(tmp_path, "sh", "train.sh"))
    assert identified(config) == config
    (tmp_path / "train.sh").write_text("exit 1")
    with pytest.raises(ConfigError, match=r"^sources: train\.sh in .*: not what this config names, or changed since"):
        identified(config)
