"""docs/notebooks.md and the docstrings' examples: each is executed, and prints what stands there."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shutil
from pathlib import Path

import pytest
from conftest import ARTICLE, store_run

from gradclip_cli.notebooks import comparing, reporting, stored
from gradclip_cli.pages import interactive

PAGE = (Path(__file__).parents[1] / "docs" / "notebooks.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module")
def stored_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the article's runs are packed in `results`, and one that kept its steps is in `watched`."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "results").mkdir()
    for name in ("runs.tar.xz", "runs.sha256", "experiment.json"):
        shutil.copy(ARTICLE / name, folder / "results" / name)
    store_run(folder / "watched", "mine", 0, [2.0, 1.5, 1.0])
    return folder


@pytest.fixture
def folder(stored_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with no look on record, as the folder in which all is done."""
    (stored_runs / "results" / "looks.json").unlink(missing_ok=True)
    monkeypatch.chdir(stored_runs)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(interactive, "is_installed", lambda: False)
    return stored_runs


@pytest.mark.slow
def test_the_pages_examples_print_what_stands_there_and_save_what_they_name(folder: Path) -> None:
    names: dict[str, object] = {}
    assert len(BLOCKS) == 5
    for source, printed in BLOCKS:
        stdout = io.StringIO()
        with contextlib.redirect_stdout(stdout):
            exec(source, names)
        assert [line.rstrip() for line in stdout.getvalue().splitlines()] == printed.splitlines(), source
    for name in re.findall(r'savefig\("(.+)"\)', PAGE):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert (folder / "clipvalue.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("module", [comparing, reporting, stored], ids=lambda module: module.__name__)
def test_the_docstrings_examples_print_what_stands_there(module: object, folder: Path) -> None:
    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)  # type: ignore[arg-type]
    assert found.attempted
    assert not found.failed
