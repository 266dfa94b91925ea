"""Files of ours are read as input: regular, bounded, with a schema number that is known."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gradclip_cli.errors import StoreError
from gradclip_cli.files import cache_folder, read_bounded, read_json, replaced_by, replacing


def test_a_pipe_in_a_files_place_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="not a regular file"):
        read_bounded(tmp_path / "pipe", 10)


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: None])
def test_a_folder_or_nothing_is_told(tmp_path: Path, make: object) -> None:
    make(tmp_path / "thing")  # type: ignore[operator]
    with pytest.raises(StoreError, match="can't be read"):
        read_bounded(tmp_path / "thing", 10)


def test_no_more_than_the_bound_is_read(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 11)
    with pytest.raises(StoreError, match="over 10 bytes"):
        read_bounded(tmp_path / "large", 10)
    assert read_bounded(tmp_path / "large", 11) == b"x" * 11


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 100_000, "recursion"),
        ('{"schema": 1, "a": NaN}', "NaN"),
        ("{", "Expecting"),
        ("[1]", "not one of gradclip's"),
        ("{}", "not one of gradclip's"),
        ('{"schema": true}', "not one of gradclip's"),
        ('{"schema": 3}', "newer gradclip"),
        ('{"schema": 1, "a": "\\ud800', "can't be read"),
        ('"\xff"', "can't be read"),
    ],
)
def test_other_content_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError, match=told):
        read_json(tmp_path / "a.json", 2)


@pytest.mark.parametrize("schema", [1, 2])
def test_known_schemas_are_read(tmp_path: Path, schema: int) -> None:
    (tmp_path / "a.json").write_text(f'{{"schema": {schema}, "a": 1}}')
    assert read_json(tmp_path / "a.json", 2) == {"schema": schema, "a": 1}


def test_what_fails_while_it_is_written_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "model.keras"
    kept.write_text("old")

    def fail_midway() -> None:
        with replaced_by(kept, tmp_path / ".saving.keras") as path, replacing(kept) as file:
            path.write_text("half")
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_midway()
    assert kept.read_text() == "old"
    assert list(tmp_path.iterdir()) == [kept]
    with replaced_by(kept, tmp_path / ".saving.keras") as path:
        path.write_text("new")
    assert kept.read_text() == "new"
    assert list(tmp_path.iterdir()) == [kept]


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCLIP_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("GRADCLIP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().name == "gradclip"
    assert cache_folder() != tmp_path
