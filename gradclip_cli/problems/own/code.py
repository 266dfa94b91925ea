"""A user's own functions, imported: under module names of their own, as their files are now, with what lies beside them."""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import importlib
import importlib.util
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from gradclip_cli.problems.own.calls import described, own_code_runs
from gradclip_cli.problems.own.references import NEVER_OWN, Finder, Loader, Located, Reference, locate
from gradclip_cli.problems.own.sources import scanned, suggest_functions

SLOW_IMPORT = 5.0
"""Seconds after which an import that goes on is told, if it isn't a library's that the file waits for: some take longer."""


class OwnModules(Finder):
    """The modules of a user's folders; while this is in use, `import` finds them. Others of the same names are put back after."""

    latest: OwnModules | None = None
    """Whose modules are Python's now."""

    def __init__(self, roots: tuple[Path, ...]) -> None:
        super().__init__(roots)
        self.loaded: dict[str, ModuleType] = {}
        self._names: set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """What Python asks of a finder. A folder without `__init__.py` yields to an installed package of that name."""
        package = name.rpartition(".")[0]
        if package and package not in self._names:
            return None
        spec = self.find(name, path)
        if spec and not spec.loader:
            spec = PathFinder.find_spec(name, path)
            spec = spec if spec and not spec.loader else None
        if spec:
            self._names.add(name)
        return spec

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Let `import` find the modules, before installed ones and after the standard library."""
        if self in sys.meta_path:
            yield
            return
        others = self._take_place()
        added = [str(root) for root in self.roots if str(root) not in sys.path]
        sys.path += added
        sys.meta_path.insert(0, self)
        try:
            yield
        finally:
            sys.meta_path.remove(self)
            for root in added:
                with contextlib.suppress(ValueError):  # his code may have taken it away
                    sys.path.remove(root)
            self.loaded |= {name: sys.modules[name] for name in self._names if name in sys.modules}
            sys.modules.update(others)

    def _take_place(self) -> dict[str, ModuleType]:
        """Put these modules into Python's; returns those whose names they need."""
        before, OwnModules.latest = OwnModules.latest, self
        for name, module in (before.loaded if before else {}).items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        taken = {
            top for top in {name.partition(".")[0] for name in list(sys.modules)} if (spec := self.find(top)) and spec.loader
        }
        others = {name: module for name, module in list(sys.modules.items()) if name.partition(".")[0] in taken}
        for name in others:
            del sys.modules[name]
        sys.modules.update(self.loaded)
        return others

    def import_file(self, located: Located) -> ModuleType:
        """The module of a file: in a package by its dotted name, else under a name of its own; imported once."""
        if located.module:
            return importlib.import_module(located.module)
        digest = hashlib.sha256(str(located.path).encode()).hexdigest()[:8]
        name = "_".join(["own", re.sub(r"\W", "_", located.path.stem), digest])
        for each in (name, located.path.stem):
            if getattr(sys.modules.get(each), "__file__", None) == str(located.path):
                return sys.modules[each]
        spec = importlib.util.spec_from_file_location(name, located.path, loader=Loader(self.contents, name, str(located.path)))
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        # Under its file's name too, so that a module which imports it back gets this one.
        names = {name} | ({located.path.stem} - NEVER_OWN)
        sys.modules.update(dict.fromkeys(names, module))
        try:
            spec.loader.exec_module(module)
        except BaseException:
            for each in names:
                sys.modules.pop(each, None)
            raise
        self._names |= names
        return module

    @property
    def changed(self) -> bool:
        """Whether a file isn't any more what was imported of it."""
        return any(not path.is_file() or path.read_bytes() != content for path, content in self.contents.items())


_MODULES: dict[tuple[Path, ...], OwnModules] = {}


def load_function(reference: Reference, folder: Path, tell: Callable[[str], None]) -> Callable[..., Any]:
    """Import a user's module and take the function that a reference names; both run with the file's folder importable.

    `tell` gets a sentence, from another thread, where the import takes long, and one on each file that can't be imported
    because of its name. What is unchanged is imported once; a change in any of the files that were imported has all of them
    imported anew. Raises ConfigError where there is no such file or function, OwnCodeError where the user's code raises.
    """
    located = locate(reference, folder)
    for name, file in scanned(located, str(reference)).shadowed.items():
        tell(f"{file} isn't what `import {name}` gives here: gradclip needs the {name} that everybody has. Rename the file.")
    modules = _MODULES.get(located.roots)
    if not modules or modules.changed:
        modules = _MODULES[located.roots] = OwnModules(located.roots)
    with modules.in_use(), _told_while_slow(located.path, modules, tell), own_code_runs(str(reference), "importing it"):
        module = modules.import_file(located)
    return _with_modules(_function(reference, module, located.path), modules)


def _with_modules(function: Callable[..., Any], modules: OwnModules) -> Callable[..., Any]:
    @functools.wraps(function, updated=())
    def called(*arguments: Any, **named: Any) -> Any:
        with modules.in_use():
            return function(*arguments, **named)

    return called


def _function(reference: Reference, module: ModuleType, path: Path) -> Callable[..., Any]:
    try:
        found = getattr(module, reference.function)
    except AttributeError:
        there = suggest_functions(path)
        near = difflib.get_close_matches(reference.function, there, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        known = f"Functions there: {', '.join(there)}" if there else "It defines no functions"
        raise reference.mistake(f"no function {reference.function} in {path}{hint} {known}") from None
    if not callable(found):
        raise reference.mistake(f"{reference.function} in {path} is {described(found)}; name a function or a class")
    return found  # type: ignore[no-any-return]


@contextlib.contextmanager
def _told_while_slow(file: Path, own: Finder, tell: Callable[[str], None]) -> Iterator[None]:
    thread, began, ended = threading.get_ident(), time.monotonic(), threading.Event()

    def watch() -> None:
        while not ended.wait(SLOW_IMPORT):
            if not _imports_a_library(sys._current_frames().get(thread), own):
                tell(
                    f"{file.name} is still being imported after {time.monotonic() - began:.0f} s: does it train on import? "
                    "Put that under if __name__ == '__main__':"
                )
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _imports_a_library(frame: FrameType | None, own: Finder) -> bool:
    """Whether the user's code, of which this frame is or was called, waits for an import of what isn't the user's."""
    called = ""
    while frame and not own.has(frame.f_code.co_filename):
        called, frame = frame.f_code.co_filename, frame.f_back
    return called.startswith("<frozen importlib")
