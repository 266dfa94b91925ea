"""A framework is imported quickly, and nobody else notices."""

from __future__ import annotations

import gc
import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.engines.importing import import_apart, quick_import

UNUSED = "colorsys"  # of the standard library, and small
SEEN = """
import sys
from gradclip_cli import engines
from gradclip_cli.config import loading
from gradclip_cli.problems import problem_of

config = loading.load("none", ["data.subset=sample", "engine.jit=false"])
engines.build(config, problem_of(config).load())
print(*sorted(set(sys.argv[1:]) & set(sys.modules)))
import matplotlib.pyplot, pandas
"""


def importable() -> bool:
    try:
        importlib.import_module(UNUSED)
    except ImportError:
        return False
    return True


@pytest.fixture(autouse=True)
def not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, UNUSED, raising=False)


def test_what_is_spared_can_be_imported_afterwards_and_what_is_there_stays() -> None:
    with quick_import(without=[UNUSED, "json"]):
        assert not importable()
        assert importlib.util.find_spec("json")
    assert importable()
    with quick_import(without=[UNUSED]):
        assert importable()


def test_an_import_that_fails_leaves_all_as_it_was() -> None:
    with pytest.raises(KeyError), quick_import(without=[UNUSED]):
        raise KeyError
    assert importable()
    assert gc.isenabled()


def test_nothing_is_kept_from_other_threads() -> None:
    found: list[bool] = []

    def import_in_thread() -> None:
        with quick_import(without=[UNUSED]):
            found.append(importable())

    thread = threading.Thread(target=import_in_thread)
    thread.start()
    thread.join()
    assert found == [True]


@pytest.mark.parametrize("enabled", [True, False])
def test_what_was_imported_is_collected_no_more_and_the_collector_goes_on_as_before(enabled: bool) -> None:
    frozen = gc.get_freeze_count()
    try:
        if not enabled:
            gc.disable()
        with quick_import():
            assert not gc.isenabled()
            kept = [[number] for number in range(10_000)]
        assert gc.isenabled() == enabled
        assert gc.get_freeze_count() >= frozen + len(kept)
    finally:
        gc.enable()
        gc.unfreeze()


@pytest.mark.slow
def test_a_shipped_arm_trains_without_what_only_other_uses_of_keras_need() -> None:
    spared = FRAMEWORKS["tensorflow"].spared
    done = subprocess.run([sys.executable, "-c", SEEN, *spared], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.skipif(not hasattr(os, "RTLD_DEEPBIND"), reason="needs Linux")
def test_a_package_is_imported_apart_once_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, flags = sys.getdlopenflags(), "import sys\n\nFLAGS = sys.getdlopenflags()\n"
    (tmp_path / "brings_its_own.py").write_text(flags)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "brings_its_own", raising=False)
    import_apart("brings_its_own")
    assert usual | os.RTLD_DEEPBIND == sys.modules["brings_its_own"].FLAGS
    assert sys.getdlopenflags() == usual
    import_apart("not_installed_anywhere")
    assert "not_installed_anywhere" not in sys.modules
