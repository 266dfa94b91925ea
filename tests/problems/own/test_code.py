"""A user's own functions: read as references, identified without being run, imported, called, blamed for no error but theirs."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gradclip_cli.errors import ConfigError, ExitCode, OwnCodeError
from gradclip_cli.problems.own import code
from gradclip_cli.problems.own.calls import call, returned
from gradclip_cli.problems.own.code import load_function
from gradclip_cli.problems.own.references import Reference
from gradclip_cli.problems.own.sources import sources, sources_sha256, suggest_functions

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes files, given by name, each a text or bytes; returns their folder."""

    def written(files: dict[str, str | bytes]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path

    return written


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """No test leaves anything in Python's ways to import, and nothing that is loaded here stays for another."""
    path, finders = list(sys.path), list(sys.meta_path)
    yield
    assert (sys.path, sys.meta_path) == (path, finders)


def load(text: str, folder: Path, tell: Callable[[str], None] = pytest.fail) -> Callable[..., Any]:
    return load_function(Reference.parse(text), folder, tell)


def built(text: str, folder: Path, /, **arguments: Any) -> Any:
    return call(load(text, folder), arguments, text)


# References.


@pytest.mark.parametrize(
    "text", ["model.py:build", "nets/rnn.py:build", "/somewhere/model.py:build", "model:build", "nets.rnn:Net"]
)
def test_a_reference_reads_back_as_it_was_written(text: str) -> None:
    assert str(Reference.parse(f" {text} ")) == text


@pytest.mark.skipif(os.name == "nt", reason="needs no Windows to be read")
def test_a_drive_is_no_function() -> None:
    assert Reference.parse("C:\\nets\\model.py:build") == ("C:\\nets\\model.py", "build", "")


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "write model.py:build"),
        ("model.py", "write model.py:build"),
        ("model.py:", "write model.py:build"),
        (":build", "write model.py:build"),
        ("model.py::build", "write model.py:build"),
        ("model.py: build", "write model.py:build"),
        ("model.py:build(units=3)", "write model.py:build; arguments stand under args"),
        ("nets.rnn.build", "write nets.rnn:build"),
        ("nets/rnn:build", "write nets/rnn.py:build"),
        ("my-model:build", "write my-model.py:build"),
        (".rnn:build", "write rnn:build"),
        ("train.ipynb:build", "`jupyter nbconvert --to script train.ipynb`, then write train.py:build"),
    ],
)
def test_what_is_no_reference_is_told_how_to_be_one(text: str, advice: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Reference.parse(text, "mine.yaml:4:12: model.factory")
    assert str(raised.value).startswith("mine.yaml:4:12: model.factory: ")
    assert str(raised.value).endswith(advice)


# Sources.

BESIDE = {
    "model.py": "import os, json\nimport numpy\nfrom layers import Cell\ndef build():\n    import late\n",
    "layers.py": "import nets.rnn\n",
    "late.py": "",
    "nets/__init__.py": "from . import init\n",
    "nets/init.py": "",
    "nets/rnn.py": "from .cells import *\nfrom . import more\nfrom .deep.er import est\nfrom ...too import far\n",
    "nets/cells.py": "",
    "nets/more.py": "import model\n",
    "nets/deep/er.py": "from ..up import x\n",
    "nets/up.py": "",
    "unrelated.py": "syntax error here",
    "json.py": "not the standard library's",
}


def test_sources_are_all_that_is_imported_from_beside_the_file(write: Write) -> None:
    folder = write(BESIDE)
    found = sources(Reference.parse("model.py:build"), folder)
    assert set(found) == set(BESIDE) - {"unrelated.py", "json.py"}
    assert found["layers.py"] == b"import nets.rnn\n"


def test_finding_sources_runs_nothing(write: Write) -> None:
    folder = write({"pack/__init__.py": "import helper\n1 / 0", "pack/model.py": "1 / 0", "helper.py": "1 / 0"})
    before = set(sys.modules)
    for text in ("pack.model:build", "pack/model.py:build"):
        assert set(sources(Reference.parse(text), folder)) == {"pack/__init__.py", "pack/model.py", "helper.py"}
    assert {name for name in set(sys.modules) - before if "pack" in name or "helper" in name} == set()


def test_a_file_finds_what_lies_beside_it_and_what_lies_in_the_folder(write: Write) -> None:
    folder = write({"nets/model.py": "import beside, above", "nets/beside.py": "", "above.py": "", "beside.py": "other"})
    assert set(sources(Reference.parse("nets/model.py:build"), folder)) == {"nets/model.py", "nets/beside.py", "above.py"}


def test_files_outside_the_folder_have_the_same_names_wherever_it_is(write: Write) -> None:
    files = {"model.py": "import helper", "helper.py": "x = 1"}
    home = write({f"{place}/{name}": text for place in ("a", "b/b") for name, text in files.items()})
    (home / "a/configs").mkdir()
    reached = sources(Reference.parse("../model.py:build"), home / "a/configs")
    assert set(reached) == {"../model.py", "../helper.py"}
    absolute = Reference.parse(f"{home / 'b/b/model.py'}:build")
    assert sources(absolute, home / "a/configs") == reached


@pytest.mark.parametrize("place", [".venv/lib/python3.11/site-packages", "usr/lib/python3/dist-packages"])
def test_an_environment_in_the_folder_is_not_followed(place: str, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write({"model.py": "import installed_thing.inside", f"{place}/installed_thing/inside.py": ""})
    monkeypatch.syspath_prepend(folder / place)
    assert set(sources(Reference.parse("model.py:build"), folder)) == {"model.py"}


def test_a_module_that_is_installed_is_its_own_source_alone(tmp_path: Path) -> None:
    found = sources(Reference.parse("pytest:fixture"), tmp_path)
    assert list(found.values()) == [Path(pytest.__file__).read_bytes()]


def test_a_module_elsewhere_that_is_not_installed_is_followed(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(
        {"src/afar/__init__.py": "", "src/afar/model.py": "from . import beside", "src/afar/beside.py": "", "here/x": ""}
    )
    monkeypatch.syspath_prepend(folder / "src")
    found = sources(Reference.parse("afar.model:build"), folder / "here")
    assert set(found) == {"../afar/__init__.py", "../afar/model.py", "../afar/beside.py"}


def test_the_hash_is_of_what_is_imported_and_nothing_else(write: Write) -> None:
    reference = Reference.parse("model.py:build")
    first = sources_sha256(reference, write(BESIDE))
    assert sources_sha256(reference, write({"unrelated.py": "x = 1", "data.csv": "1"})) == first
    changed = sources_sha256(reference, write({"nets/up.py": "x = 1"}))
    assert changed != first
    assert sources_sha256(reference, write({"nets/up.py": ""})) == first
    assert sources_sha256(reference, write({"layers.py": "import nets.rnn\nimport added", "added.py": ""})) != first


def test_the_hash_is_the_same_on_another_machine(write: Write) -> None:
    home = write(
        {"a/model.py": "import helper\nx = 1\n", "a/helper.py": "", "b/model.py": "import helper\r\nx = 1\r\n", "b/helper.py": ""}
    )
    reference = Reference.parse("model.py:build")
    assert sources_sha256(reference, home / "a") == sources_sha256(reference, home / "b")
    assert sources_sha256(reference, home / "a") == "2666afd93250848628318e42349a06a73db30501e2509a8cc8eac23ae026a069"


def test_the_hash_knows_which_file_holds_what(write: Write) -> None:
    home = write({f"{place}/model.py": "import a, b" for place in ("one", "two")})
    write({"one/a.py": "x = 1", "one/b.py": "", "two/a.py": "", "two/b.py": "x = 1"})
    reference = Reference.parse("model.py:build")
    assert sources_sha256(reference, home / "one") != sources_sha256(reference, home / "two")


@pytest.mark.parametrize("files", [{"model.py": "\nx = = 1\n"}, {"model.py": "import helper", "helper.py": "\nx = = 1\n"}])
def test_a_syntax_error_is_the_users(files: dict[str, str], write: Write) -> None:
    folder, last = write(files), list(files)[-1]
    for use in (sources, sources_sha256, lambda reference, folder: load(str(reference), folder)):
        with pytest.raises(OwnCodeError) as raised:
            use(Reference.parse("model.py:build"), folder)  # type: ignore[operator]
        assert f"model.py:build: {folder / last}, line 2 is no Python" in str(raised.value)
        assert "x = = 1" in str(raised.value)


def test_bytes_that_are_no_text_are_the_users_mistake(write: Write) -> None:
    for content in (b"x = 1\0", b"# coding: none-such\n", b"x = '\xff'"):
        with pytest.raises(OwnCodeError, match="is no Python"):
            sources(Reference.parse("model.py:build"), write({"model.py": content}))


@pytest.mark.parametrize(
    "use", [sources, sources_sha256, lambda reference, folder: load_function(reference, folder, pytest.fail)]
)
def test_a_missing_file_is_a_mistake_in_the_config(use: Callable[[Reference, Path], Any], write: Write) -> None:
    folder = write({"models.py": ""})
    for text, advice in {
        "model.py:build": f"no file {folder / 'model.py'}; did you mean 'models.py'?",
        "nets/other.py:build": f"no file {folder / 'nets/other.py'}; paths are relative to {folder}",
        "no_such.rnn:build": f"no module no_such.rnn in {folder}, and none is installed; write FILE.py:function",
        "models.rnn:build": f"no module models.rnn in {folder}",
        "json.no_such:build": "no module json.no_such",
    }.items():
        with pytest.raises(ConfigError) as raised:
            use(Reference.parse(text, "mine.yaml:4:12: model.factory"), folder)
        assert str(raised.value).startswith(f"mine.yaml:4:12: model.factory: {text}: {advice}")


def test_a_folder_without_init_is_no_module(write: Write) -> None:
    folder = write({"nets/rnn.py": "def build(): return 1"})
    assert built("nets.rnn:build", folder) == 1
    with pytest.raises(ConfigError, match=r"nets is a folder without __init__.py: write nets.MODULE:build"):
        load("nets:build", folder)


# Importing.


def test_a_function_is_built_from_its_arguments(write: Write) -> None:
    folder = write({"model.py": "def build(units, *, rate=0.1):\n    return units, rate"})
    assert built("model.py:build", folder, units=3) == (3, 0.1)
    assert built("model:build", folder, units=3, rate=1) == (3, 1)
    assert built(f"{folder / 'model.py'}:build", folder / "elsewhere", units=3) == (3, 0.1)


def test_files_of_the_same_name_in_two_folders_are_two(write: Write) -> None:
    text = "from helper import number\ndef build():\n    from late import letter\n    return number, letter"
    home = write({f"{place}/model.py": text for place in "ab"})
    write({"a/helper.py": "number = 1", "a/late.py": "letter = 'a'", "b/helper.py": "number = 2", "b/late.py": "letter = 'b'"})
    first, second = (load("model.py:build", home / place) for place in "ab")
    assert first.__module__ != second.__module__
    assert [first(), second(), first()] == [(1, "a"), (2, "b"), (1, "a")]


def test_what_only_one_folder_has_is_not_found_from_another(write: Write) -> None:
    home = write({f"{place}/model.py": "import helper, nets.rnn\ndef build(): return nets.rnn.x" for place in "ab"})
    write({"a/helper.py": "", "a/nets/rnn.py": "x = 1"})
    assert built("model.py:build", home / "a") == 1
    with pytest.raises(OwnCodeError, match="No module named 'helper'"):
        load("model.py:build", home / "b")
    write({"b/helper.py": "", "b/nets/rnn.py": "x = 2"})
    assert built("model.py:build", home / "b") == 2
    assert built("model.py:build", home / "a") == 1


@pytest.mark.parametrize("changed", ["model.py", "helper.py", "nets/rnn.py"])
def test_changed_code_is_loaded_anew(changed: str, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even within a second and with as many letters, where Python's bytecode would be taken for the same."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    files = {"model.py": "import helper\nfrom nets import rnn\nx = 1\ndef build(): return x + helper.x + rnn.x"}
    files |= {"helper.py": "x = 1", "nets/rnn.py": "x = 1"}
    folder = write(files)
    before = load("model.py:build", folder)
    write({changed: files[changed].replace("x = 1", "x = 2")})
    assert built("model.py:build", folder) == 4
    assert before() == 3
    assert not list(folder.rglob("__pycache__"))


def test_unchanged_code_is_imported_once_for_all_its_functions(write: Write) -> None:
    folder = write(
        {"model.py": "import helper\nhelper.count += 1\ndef build(): return helper.count\nload = build", "helper.py": "count = 0"}
    )
    assert [built(f"model.py:{name}", folder) for name in ("build", "load", "build")] == [1, 1, 1]


def test_a_failed_import_is_tried_again(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write({"model.py": "import helper\ndef build(): return 1", "helper.py": "import os\nos.environ['NEEDED_HERE']"})
    with pytest.raises(OwnCodeError, match="KeyError: 'NEEDED_HERE'"):
        load("model.py:build", folder)
    monkeypatch.setenv("NEEDED_HERE", "")
    assert built("model.py:build", folder) == 1


@pytest.mark.parametrize("text", ["nets/rnn.py:build", "nets.rnn:build", "nets/deep/gru.py:build", "nets.deep.gru:build"])
def test_a_file_in_a_package_imports_relatively(text: str, write: Write) -> None:
    files = {"nets/__init__.py": "", "nets/cells.py": "x = 5", "nets/deep/__init__.py": ""}
    files |= {"nets/rnn.py": "from . import cells\nfrom .cells import x\ndef build(): return cells.x + x"}
    files |= {"nets/deep/gru.py": "from .. import cells\ndef build(): return 2 * cells.x"}
    assert built(text, write(files)) == 10


def test_a_package_is_a_module_too(write: Write) -> None:
    folder = write({"nets/__init__.py": "from . import rnn\ndef build(): return rnn.x", "nets/rnn.py": "x = 1"})
    for text in ("nets:build", "nets/__init__.py:build"):
        assert built(text, folder) == 1
        assert set(sources(Reference.parse(text), folder)) == {"nets/__init__.py", "nets/rnn.py"}


def test_a_module_may_import_the_file_back(write: Write) -> None:
    folder = write({"model.py": "class Net: pass\nimport helper\ndef build(): return isinstance(helper.net, Net)"})
    write({"helper.py": "from model import Net\nnet = Net()"})
    assert built("model.py:build", folder) is True


def test_an_installed_module_of_the_same_name_stays_what_it_is(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    home = write({"installed/utils.py": "whose = 'theirs'", "mine/utils.py": "whose = 'mine'"})
    folder = write({"mine/model.py": "import utils\ndef build():\n    import utils as late\n    return utils.whose, late.whose"})
    monkeypatch.syspath_prepend(home / "installed")
    theirs: Any = importlib.import_module("utils")
    try:
        assert built("model.py:build", folder / "mine") == ("mine", "mine")
        assert sys.modules["utils"] is theirs
        assert built("model.py:build", folder / "mine") == ("mine", "mine")
    finally:
        del sys.modules["utils"]


def test_a_folder_of_data_does_not_hide_an_installed_package(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    home = write({"installed/datasets/__init__.py": "whose = 'theirs'", "mine/datasets/part.csv": ""})
    write({"mine/model.py": "import datasets\ndef build(): return datasets.whose"})
    monkeypatch.syspath_prepend(home / "installed")
    assert built("model.py:build", home / "mine") == "theirs"
    sys.modules.pop("datasets")


def test_a_file_named_like_the_standard_library_takes_nothings_place(write: Write) -> None:
    folder = write({"model.py": "import random, bisect\ndef build(): return random, bisect"})
    write({"random.py": "raise ValueError('imported')", "bisect/__init__.py": "raise ValueError('imported')"})
    told: list[str] = []
    build = load("model.py:build", folder, told.append)
    assert [module.__file__ for module in build()] == [random.__file__, sys.modules["bisect"].__file__]
    assert sorted(told) == [
        f"{folder / name} isn't what `import {module}` gives here: "
        f"gradclip needs the {module} that everybody has. Rename the file."
        for name, module in (("bisect/__init__.py", "bisect"), ("random.py", "random"))
    ]
    assert set(sources(Reference.parse("model.py:build"), folder)) == {"model.py"}


@pytest.mark.parametrize("name", ["random.py", "keras.py", "my-model.py", "2nd model.py", "code/model.py"])
def test_a_file_of_any_name_may_hold_the_function(name: str, write: Write) -> None:
    folder = write({name: "import random\ndef build(): return random.random", "code/__init__.py": ""})
    assert built(f"{name}:build", folder) is random.random
    assert sys.modules["random"] is random


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbfdef build(): return '\xc3\xa9'\r\n", b"# -*- coding: latin-1 -*-\ndef build(): return '\xe9'\n"],
    ids=["byte order mark", "encoding cookie"],
)
def test_a_file_is_read_in_its_encoding(content: bytes, write: Write) -> None:
    folder = write({"model.py": content})
    assert built("model.py:build", folder) == "é"
    assert suggest_functions(folder / "model.py") == ["build"]
    assert sources_sha256(Reference.parse("model.py:build"), folder)


def test_whatever_can_be_called_is_a_function(write: Write) -> None:
    text = """
import functools
from helper import imported
def build(units): return units
assigned = functools.partial(build, units=3)
class Net:
    def __init__(self, units=3): self.units = units
"""
    folder = write({"model.py": text, "helper.py": "def imported(): return 3"})
    assert built("model.py:assigned", folder) == built("model.py:imported", folder) == built("model.py:Net", folder).units == 3
    assert built("model.py:assigned", folder, units=4) == built("model.py:Net", folder, units=4).units == 4


def test_an_exported_notebooks_main_is_not_run(write: Write) -> None:
    text = "# In[1]:\ndef build(): return __name__\n# In[2]:\nif __name__ == '__main__':\n    raise SystemExit(build())\n"
    assert built("notebook.py:build", write({"notebook.py": text})).startswith("own_notebook_")


def test_a_class_is_found_by_its_module_afterwards(write: Write) -> None:
    """As what saves and documents an object does."""
    net = built("model.py:Net", write({"model.py": "class Net:\n    pass"}))
    assert sys.modules[type(net).__module__].Net is type(net)


def test_no_such_function(write: Write) -> None:
    folder = write(
        {"model.py": "def build(): pass\nif 1:\n    def load(): pass\nrate = 0.5\nclass Net:\n    def inside(self): pass"}
    )
    with pytest.raises(ConfigError) as raised:
        load("model.py:biuld", folder)
    assert str(raised.value).endswith(
        f"no function biuld in {folder / 'model.py'}; did you mean 'build'? Functions there: build, load"
    )
    with pytest.raises(ConfigError, match=r"rate in .* is 0.5, a float; name a function or a class"):
        load("model.py:rate", folder)
    with pytest.raises(ConfigError, match="It defines no functions"):
        load("empty.py:build", write({"empty.py": ""}))


def test_functions_are_suggested_without_running_the_file(write: Write) -> None:
    folder = write(
        {"model.py": "1 / 0\ndef a(): pass\ntry:\n    async def b(): pass\nexcept E:\n    def c():\n        def d(): pass\n"}
    )
    assert suggest_functions(folder / "model.py") == ["a", "b", "c"]
    assert suggest_functions(folder / "none.py") == suggest_functions(folder) == []


WAITS = "import threading\nassert threading.was_told.wait(10)\n"


def test_a_slow_import_is_told_while_it_goes_on(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "SLOW_IMPORT", 0.01)
    monkeypatch.setattr(threading, "was_told", threading.Event(), raising=False)
    told: list[str] = []

    def tell(sentence: str) -> None:
        told.append(sentence)
        threading.was_told.set()  # type: ignore[attr-defined]

    load("train.py:build", write({"train.py": f"{WAITS}def build(): pass"}), tell)
    load(
        "uses.py:build",
        write(
            {"uses.py": "import helper\ndef build(): pass", "helper.py": f"import threading\nthreading.was_told.clear()\n{WAITS}"}
        ),
        tell,
    )
    sentence = "is still being imported after 0 s: does it train on import? Put that under if __name__ == '__main__':"
    assert told == [f"train.py {sentence}", f"uses.py {sentence}"]


@pytest.mark.parametrize("place", ["installed", "mine/.venv/lib/python3.11/site-packages"])
def test_a_library_takes_its_time(place: str, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine is busy with: what counts is what is seen while the library's own code runs."""
    began, looked, found = threading.Event(), threading.Event(), list[bool]()
    judge = code._imports_a_library

    def judging(*given: Any) -> bool:
        if looked.is_set() or not began.is_set():
            return True
        found.append(judge(*given))
        looked.set()
        return found[-1]

    monkeypatch.setattr(code, "SLOW_IMPORT", 0.01)
    monkeypatch.setattr(code, "_imports_a_library", judging)
    monkeypatch.setattr(threading, "library", (began, looked), raising=False)
    slow = "import threading\nbegan, looked = threading.library\nbegan.set()\nassert looked.wait(10)"
    home = write({f"{place}/slow_library.py": slow})
    write({"mine/model.py": "import slow_library\ndef build(): pass"})
    monkeypatch.syspath_prepend(home / place)
    told: list[str] = []
    load("model.py:build", home / "mine", told.append)
    assert sys.modules.pop("slow_library")
    assert found == [True]
    assert told == []


@pytest.mark.parametrize("text", ["def build(): pass", "1 / 0"])
def test_no_clock_is_left_running(text: str, write: Write) -> None:
    before = threading.enumerate()
    with contextlib.suppress(OwnCodeError):
        load("model.py:build", write({"model.py": text}))
    assert threading.enumerate() == before


# Calling.


@pytest.mark.parametrize(
    ("parameters", "arguments", "problems"),
    [
        (
            "units, rate=1",
            {"unit": 3},
            ["unknown argument 'unit'; did you mean 'units'?", "needs an argument 'units': write it under args"],
        ),
        ("", {"depth": 3}, ["unknown argument 'depth'; it takes none"]),
        ("units, **others", {"depth": 3}, ["needs an argument 'units': write it under args"]),
        ("*, units", {}, ["needs an argument 'units': write it under args"]),
        ("units, /", {}, ["missing a required argument: 'units'; arguments are given by name"]),
        ("units", {"units": 3, 7: 1}, ["unknown argument '7'; it takes units"]),
    ],
)
def test_arguments_are_held_against_the_signature(
    parameters: str, arguments: dict[str, Any], problems: list[str], write: Write
) -> None:
    build = load("model.py:build", write({"model.py": f"def build({parameters}): raise ValueError"}))
    with pytest.raises(ConfigError) as raised:
        call(build, arguments, "mine.yaml:5:3: model.args")
    assert list(raised.value.problems) == [f"mine.yaml:5:3: model.args: {problem}" for problem in problems]


def test_what_has_no_signature_is_called() -> None:
    assert call(dict, {"units": 3}, "model.factory") == {"units": 3}


def test_what_is_printed_leaves_stdout_alone(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write({"model.py": "print('on import')\ndef build(): print('on call'); return 1"})
    assert built("model.py:build", folder) == 1
    assert capsys.readouterr() == ("", "on import\non call\n")


def test_warnings_are_left_alone(write: Write) -> None:
    folder = write({"model.py": "import warnings\nx = '\\d'\ndef build(): warnings.warn('careful')"})
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        built("model.py:build", folder)
    assert [str(warning.message) for warning in seen] == [r"invalid escape sequence '\d'", "careful"]


def frames(error: OwnCodeError) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.startswith("  File ")]


def test_what_the_code_raises_is_shown_from_its_first_frame_on(write: Write) -> None:
    folder = write({"model.py": "import json\ndef build(text): return json.loads(text)"})
    with pytest.raises(OwnCodeError) as raised:
        built("model.py:build", folder, text="{")
    assert str(raised.value).startswith("model.py:build: it raised JSONDecodeError\nTraceback (most recent call last):\n")
    assert str(raised.value).splitlines()[-1].startswith("json.decoder.JSONDecodeError: Expecting property name")
    assert frames(raised.value)[0] == f'File "{folder / "model.py"}", line 2, in build'
    assert raised.value.exit_code == ExitCode.FAILED
    assert raised.value.kind == "own_code"


def test_what_it_raises_on_import_is_shown_from_its_first_frame_on(write: Write) -> None:
    folder = write({"model.py": "\nimport helper", "helper.py": "import no_such_thing"})
    for text in ("model.py:build", "model:build"):
        with pytest.raises(OwnCodeError) as raised:
            load(text, folder)
        assert str(raised.value).startswith(f"{text}: importing it raised ModuleNotFoundError\n")
        assert frames(raised.value)[0] == f'File "{folder / "model.py"}", line 2, in <module>'
        assert frames(raised.value)[-1] == f'File "{folder / "helper.py"}", line 1, in <module>'


def test_what_led_to_it_is_shown_too(write: Write) -> None:
    text = "def build():\n    try: {}['a']\n    except KeyError as error: raise ValueError('b') from error"
    with pytest.raises(OwnCodeError, match=r"(?s)KeyError: 'a'.*direct cause.*ValueError: b"):
        built("model.py:build", write({"model.py": text}))


def test_a_type_error_within_is_the_codes_and_not_the_arguments(write: Write) -> None:
    with pytest.raises(OwnCodeError, match="it raised TypeError"):
        built("model.py:build", write({"model.py": "def build(): return len(3)"}))


@pytest.mark.parametrize(("code", "shown"), [("", "None"), ("0", "0"), ("'no data'", "'no data'")])
def test_code_that_would_end_the_process_fails(code: str, shown: str, write: Write) -> None:
    folder = write({"model.py": f"import sys\ndef build(): sys.exit({code})", "train.py": f"import sys\nsys.exit({code})"})
    with pytest.raises(OwnCodeError, match=r"(?s)it would have ended the process, sys.exit\(.*line 2, in build") as raised:
        built("model.py:build", folder)
    assert f"sys.exit({shown}); leave that to a script's if __name__ == '__main__':" in str(raised.value)
    with pytest.raises(OwnCodeError, match="importing it would have ended the process"):
        load("train.py:build", folder)


def test_ctrl_c_passes_through(write: Write) -> None:
    folder = write({"model.py": "def build(): raise KeyboardInterrupt", "train.py": "raise KeyboardInterrupt"})
    with pytest.raises(KeyboardInterrupt):
        built("model.py:build", folder)
    with pytest.raises(KeyboardInterrupt):
        load("train.py:build", folder)


class Shaped:
    shape = (3, 4)


async def coroutine() -> None: ...


@pytest.mark.parametrize(
    ("value", "described"),
    [
        (None, "None (is a `return` missing?)"),
        ((1, 2), "a tuple of 2"),
        ({}, "a dict of 0"),
        (Shaped, "the class Shaped (did you forget to call it?)"),
        (frames, "the function frames (did you forget to call it?)"),
        ((number for number in "1"), "a generator"),
        (Shaped(), "a Shaped of shape (3, 4)"),
        (functools.partial(len), "a partial"),
        (ModuleType("m"), "a module"),
        (1, "1, an int"),
        ("a" * 500, "aaa"),
    ],
)
def test_what_was_returned_instead_is_described(value: Any, described: str) -> None:
    error = returned("model.py:build", value, "a model")
    assert str(error).startswith("model.py:build: it returned ")
    assert str(error).endswith(" where a model was needed")
    assert described in str(error)
    assert len(str(error)) < 300


def test_a_coroutine_is_told_how_to_be_none() -> None:
    value = coroutine()
    assert "a coroutine (write def, not async def)" in str(returned("model.py:build", value, "a model"))
    value.close()
