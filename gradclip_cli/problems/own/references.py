"""A user's own functions, by reference: `FILE.py:function` or `package.module:function`. Where one leads; nothing is imported."""

from __future__ import annotations

import difflib
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any, NamedTuple

from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.config.yaml_tree import shortened
from gradclip_cli.errors import ConfigError

EXAMPLE = "model.py:build"
NOTEBOOK = ".ipynb"
NEVER_OWN = sys.stdlib_module_names.union(
    ("__main__", "gradclip_cli", "numpy"),
    *((framework.package, *framework.distributions) for framework in FRAMEWORKS.values()),
)
"""Modules that no file of a user takes the place of, so that what gradclip needs stays whole: a `random.py` is not `random`."""


class Reference(NamedTuple):
    """A function of a user's: `FILE.py:function`, or `package.module:function`."""

    target: str
    """FILE.py, relative to a folder or absolute, or package.module."""
    function: str
    place: str = ""
    """Where it was written, such as `mine.yaml:4:12: model.factory`: messages begin with it."""

    def __str__(self) -> str:
        return f"{self.target}:{self.function}"

    @classmethod
    def parse(cls, text: str, place: str = "") -> Reference:
        """Read a reference. Raises ConfigError, which says what to write instead."""
        target, _, function = text.strip().rpartition(":")
        if function.isidentifier() and (target.endswith(".py") or (_is_dotted(target) and not target.endswith(NOTEBOOK))):
            return cls(target, function, place)
        problem = f"{shortened(repr(text))} is neither FILE.py:function nor package.module:function; {_instead(text.strip())}"
        raise ConfigError([f"{place}: {problem}" if place else problem])

    def mistake(self, problem: str) -> ConfigError:
        """The error of a reference that doesn't lead to a function, with its place."""
        return ConfigError([f"{self.place}: {self}: {problem}" if self.place else f"{self}: {problem}"])


def _is_dotted(target: str) -> bool:
    return all(part.isidentifier() for part in target.split("."))


def _instead(text: str) -> str:
    """What to write for a text that is no reference."""
    target, colon, function = text.rpartition(":")
    name = function.partition("(")[0].strip()
    if not colon:
        target, name = text, "build"
        if "/" not in text and not text.endswith(".py") and _is_dotted(text) and "." in text:
            target, _, name = text.rpartition(".")
    target = target.strip().strip(":").lstrip(".") if "/" not in target else target.strip().rstrip(":")
    if not target:
        return f"write {EXAMPLE}"
    if target.endswith(NOTEBOOK):
        script = f"{target.removesuffix(NOTEBOOK)}.py"
        return f"a notebook can't be imported: `jupyter nbconvert --to script {target}`, then write {script}:{name or 'build'}"
    if not target.endswith(".py") and not _is_dotted(target):
        target += ".py"
    hint = "; arguments stand under args" if "(" in function else ""
    return f"write {shortened(target)}:{shortened(name) if name.isidentifier() else 'build'}{hint}"


class Loader(SourceFileLoader):
    """Compiles a source as it is now: bytecode whose second and size agree may be of another text. Keeps what it compiled."""

    def __init__(self, contents: dict[Path, bytes], name: str, path: str) -> None:
        super().__init__(name, path)
        self.contents = contents

    def get_code(self, fullname: str) -> Any:
        path = self.get_filename(fullname)
        content = self.contents[Path(path)] = self.get_data(path)
        return self.source_to_code(content, path)


@dataclass(eq=False)
class Finder:
    """Finds modules in a user's folders, without importing what it finds."""

    roots: tuple[Path, ...]
    """Where a top-level module may lie, in the order in which they are looked through."""
    contents: dict[Path, bytes] = field(default_factory=dict)
    """What was compiled of the modules that were imported."""
    _in_folders: dict[str, FileFinder] = field(default_factory=dict)

    def find(self, name: str, folders: Sequence[str] | None = None) -> ModuleSpec | None:
        """A module by its dotted name, in `folders` or else the roots; `loader` is None for a folder without `__init__.py`."""
        if name.partition(".")[0] in NEVER_OWN:
            return None
        looked_in = [str(root) for root in self.roots] if folders is None else [each for each in folders if self.has(each)]
        found = [spec for folder in looked_in if (spec := self._in_folder(folder).find_spec(name))]
        return next((spec for spec in found if spec.loader), found[0] if found else None)

    def has(self, path: str | Path) -> bool:
        """Whether a path is a user's: in one of the folders, and not of an environment that lies there."""
        path = Path(path)
        return any(path.is_relative_to(root) for root in self.roots) and not is_installed(path)

    def find_chain(self, name: str) -> Iterator[ModuleSpec]:
        """What importing a dotted name imports, from the outermost package on; ends where nothing is found."""
        folders, parts = None, name.split(".")
        for depth in range(1, len(parts) + 1):
            if (depth > 1 and folders is None) or not (spec := self.find(".".join(parts[:depth]), folders)):
                return
            yield spec
            folders = spec.submodule_search_locations

    def _in_folder(self, folder: str) -> FileFinder:
        if folder not in self._in_folders:
            self._in_folders[folder] = FileFinder(folder, (partial(Loader, self.contents), SOURCE_SUFFIXES))  # type: ignore[arg-type]
        return self._in_folders[folder]


def is_installed(path: Path) -> bool:
    """Whether a path is in an environment's packages or the standard library."""
    standard = any(path.is_relative_to(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib"))
    return standard or bool({"site-packages", "dist-packages"} & set(path.parts))


def absolute(path: Path) -> Path:
    """The path from the root on, without `..`; links are kept: what is linked beside a config is beside it."""
    return Path(os.path.normpath(path.absolute()))


class Located(NamedTuple):
    """Where a reference leads."""

    path: Path
    """The file, absolute; links are not resolved."""
    module: str
    """Its dotted name; empty for a file that is in no package."""
    roots: tuple[Path, ...]
    """The folders whose modules it can import."""


def locate(reference: Reference, folder: Path) -> Located:
    """Find the file of a reference; relative to `folder`. Raises ConfigError where there is none."""
    folder = absolute(folder)
    return _locate_file(reference, folder) if reference.target.endswith(".py") else _locate_module(reference, folder)


def _locate_file(reference: Reference, folder: Path) -> Located:
    path = absolute(folder / reference.target)
    if not path.is_file():
        beside = sorted(each.name for each in path.parent.glob("*.py")) if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, beside, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; paths are relative to {folder}"
        raise reference.mistake(f"no file {path}{hint}")
    package = [path.stem]
    root = path.parent
    while (root / "__init__.py").is_file() and _is_dotted(root.name) and root.name not in NEVER_OWN:
        package.insert(0, root.name)
        root = root.parent
    in_package = len(package) > 1 and _is_dotted(path.stem)
    name = ".".join(package[:-1] if path.stem == "__init__" else package) if in_package else ""
    return Located(path, name, _own((root, path.parent, folder) if in_package else (path.parent, folder)))


def _locate_module(reference: Reference, folder: Path) -> Located:
    name = reference.target
    found = list(Finder(_own((folder,))).find_chain(name))
    if not found or found[-1].name != name or not found[-1].loader:
        found = _chain_elsewhere(name) or found
    is_whole = bool(found) and found[-1].name == name
    if is_whole and found[-1].has_location and found[-1].origin:
        path = Path(found[-1].origin)
        root = path.parents[name.count(".") + (path.stem == "__init__")]
        return Located(path, name, _own((root, folder)))
    if is_whole and found[-1].submodule_search_locations:
        raise reference.mistake(f"{name} is a folder without __init__.py: write {name}.MODULE:{reference.function}")
    file = f"{name.replace('.', '/')}.py"
    raise reference.mistake(f"no module {name} in {folder}, and none is installed; write FILE.py:function, such as {file}:build")


def _chain_elsewhere(name: str) -> list[ModuleSpec]:
    """What importing a dotted name would import, by Python's finders; `importlib.util.find_spec` would run its packages."""
    chain: list[ModuleSpec] = []
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        folders = chain[-1].submodule_search_locations if chain else None
        specs = (finder.find_spec(".".join(parts[:depth]), folders, None) for finder in sys.meta_path)
        spec = next((spec for spec in specs if spec), None) if not chain or folders is not None else None
        if not spec:
            return []
        chain.append(spec)
    return chain


def _own(folders: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(folder for folder in folders if not is_installed(folder)))
