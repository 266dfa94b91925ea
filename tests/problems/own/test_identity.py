"""Whose code and files a config names: found from a folder that is only to be made, as that of a results folder's configs is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gradclip_cli.config import loading
from gradclip_cli.config.own import OwnConfig
from gradclip_cli.config.own_files import moved
from gradclip_cli.errors import ConfigError
from gradclip_cli.problems.own.identity import identified
from gradclip_cli.problems.own.luggage import packed

CONFIG = "{data: {npz: data.npz}, model: {file: saved.keras}, loss: mean_squared_error}"


def config_in(folder: Path) -> OwnConfig:
    path = folder / "mine.yaml"
    path.write_text(CONFIG)
    config = loading.load(str(path))
    assert isinstance(config, OwnConfig)
    return config


def test_a_saved_model_is_found_from_a_results_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "saved.keras").write_bytes(b"a model")
    (tmp_path / "data.npz").write_bytes(b"arrays")
    elsewhere = moved(config_in(tmp_path), tmp_path / "results" / "saved")
    assert elsewhere.model.file == "../../saved.keras"
    assert identified(elsewhere).model.source_sha256 == hashlib.sha256(b"a model").hexdigest()
    assert packed(elsewhere) == {"../../saved.keras": b"a model", "../../data.npz": b"arrays"}


def test_a_saved_model_that_is_missing_is_named_by_where_it_was_looked_for(tmp_path: Path) -> None:
    elsewhere = moved(config_in(tmp_path), tmp_path / "results" / "saved")
    with pytest.raises(ConfigError, match=rf"^model\.file: {tmp_path}/saved\.keras: no such file$"):
        identified(elsewhere)
