"""Whatever stands in a config, a sweep or an override: it loads, or it is told what is wrong with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import hostile_texts
import pytest
from conftest import slowly

from gradclip_cli.config import loading, sweeps
from gradclip_cli.errors import ConfigError

pytestmark = pytest.mark.hostile

SCRIPT = Path(hostile_texts.__file__)
BLOCK = 250


@pytest.mark.parametrize("block", [0, *slowly(1), *hostile_texts.blocks(40, quick=2)[2:]])
def test_every_text_loads_or_is_refused_in_words(block: int) -> None:
    hostile_texts.failures(SCRIPT, block, BLOCK)


def test_a_case_is_made_by_its_number_alone() -> None:
    for number in range(40):
        assert hostile_texts.case(number).files == hostile_texts.case(number).files
    assert len({str(hostile_texts.case(number).files) for number in range(0, 40) if number % 8 != 1}) == 35


@pytest.mark.parametrize("opening", ["[", "{a: ", "\n  " + "- "])
@pytest.mark.parametrize("depth", [1_000, *slowly(30_000), 200_000])
def test_depth_is_refused_and_ends_no_process(opening: str, depth: int, tmp_path: Path) -> None:
    """A reader that calls itself for each level runs out of the stack, which no except clause catches."""
    first, _, rest = opening.rpartition("\n  ")
    (tmp_path / "deep.yaml").write_text(f"extends: none\nmodel: {first}" + ("\n  " if "\n" in opening else "") + rest * depth)
    command = [sys.executable, "-m", "gradclip_cli", "run", "deep.yaml", "--dry-run"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr[-300:]
    assert "deep.yaml" in ended.stderr
    assert not hostile_texts.faults_of_message(ended.stderr)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("extends: none\nmodel: 3\nloss: 4\n", ("model", "loss")),
        ("extends: none\nmodle: {units: 3}\ntraining: {epochs: -1}\n", ("modle", "epochs")),
        ("extends: none\noptimizer: {name: adamm}\nclipping: {mode: clipnrm}\n", ("adamm", "clipnrm")),
        ("extends: none\nname: a/b\ndata: {subset: some}\n", ("a/b", "some")),
        ("extends: none\nmodel: {units: 3, units: 4}\ntraining: {epochs: x}\n", ("units",)),
    ],
)
def test_two_mistakes_are_told_together(text: str, told: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        loading.load(str(path))
    assert all(word in str(caught.value) for word in told), str(caught.value)


@pytest.mark.parametrize("name", ["pipe", "folder", "nothing", "loop", "a" * 5_000, "\x00", "zero"])
@pytest.mark.parametrize("how", ["given", "extended", "base of a sweep"])
def test_what_is_no_file_is_told_at_once(name: str, how: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    text = json.dumps(name)
    (tmp_path / "main.yaml").write_text(
        f"extends: {text}\n" if how == "extended" else f"base: {text}\ngrid: {{model.units: [1, 2]}}\n"
    )
    load = {"given": lambda: loading.load(str(tmp_path / name)), "extended": lambda: loading.load(str(tmp_path / "main.yaml"))}
    with pytest.raises(ConfigError) as caught, hostile_texts.patient():
        load.get(how, lambda: sweeps.load(str(tmp_path / "main.yaml")))()
    assert not hostile_texts.faults_of_message(str(caught.value))
