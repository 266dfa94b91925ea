"""The examples to begin with: valid configs of models that build, written where nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradclip_cli.config import loading
from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.config.own import OwnConfig
from gradclip_cli.config.templates import example_files, write_example
from gradclip_cli.errors import ConflictError, StoreError

NAMES = ["README.md", "config.yaml", "model.py"]
each_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


@each_framework
def test_an_example_is_written_into_a_folder_that_is_made(framework: str, tmp_path: Path) -> None:
    written = write_example(framework, tmp_path / "new" / "demo")
    assert [path.name for path in written] == NAMES
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in example_files(framework)]


@each_framework
def test_its_config_is_valid_unclipped_and_of_its_framework(framework: str, tmp_path: Path) -> None:
    write_example(framework, tmp_path)
    config = loading.load(str(tmp_path / "config.yaml"))
    assert isinstance(config, OwnConfig)
    assert (config.engine.framework, config.clipping.mode) == (framework, "none")
    assert (config.folder, config.model.factory, config.data.factory) == (str(tmp_path), "model.py:build", "model.py:load")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_there_is_named_and_kept_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConflictError, match=rf"{name}: is there already; name another folder"):
        write_example("tensorflow", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_link_to_nowhere_is_in_the_way_too(tmp_path: Path) -> None:
    (tmp_path / "model.py").symlink_to(tmp_path / "nowhere.py")
    (tmp_path / "config.yaml").write_text("mine")
    with pytest.raises(ConflictError, match=r"config\.yaml, .*model\.py: are there already"):
        write_example("pytorch", tmp_path)
    assert not (tmp_path / "nowhere.py").exists()


def test_a_folder_that_can_t_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="can't be written: File exists"):
        write_example("tensorflow", tmp_path / "file")
