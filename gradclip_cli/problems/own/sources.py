"""The sources behind a user's own function, found without running any of them: its file and what that imports; their hash."""

from __future__ import annotations

import ast
import hashlib
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gradclip_cli.errors import ConfigError, OwnCodeError
from gradclip_cli.problems.own.references import NEVER_OWN, Finder, Located, Reference, absolute, locate


def sources(reference: Reference, folder: Path) -> Mapping[str, bytes]:
    """The files behind a reference: its own, and the user's modules that it imports, directly or not; found without running them.

    They are keyed by path relative to `folder`, or, where a file isn't in it, by `../` and its path below the folder it is
    imported from. What is imported by a computed name can't be seen. Raises ConfigError where the file is missing and
    OwnCodeError where one is no Python.
    """
    located = locate(reference, folder)
    files = scanned(located, str(reference)).files
    return {_key(path, absolute(folder), located.roots): content for path, content in sorted(files.items())}


def sources_sha256(reference: Reference, folder: Path) -> str:
    """One hash over names and contents of `sources`, whatever the machine and its line endings. Raises as `sources` does."""
    whole = hashlib.sha256()
    for name, content in sorted(sources(reference, folder).items()):
        lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        whole.update(f"{name}\0{hashlib.sha256(lines).hexdigest()}\n".encode())
    return whole.hexdigest()


def suggest_functions(path: Path) -> list[str]:
    """Names of the functions at a file's top level, in their order; none where it can't be read."""
    try:
        tree = _parsed(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    return list(dict.fromkeys(_functions(tree)))


def _functions(within: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(within):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif not isinstance(node, ast.ClassDef):
            yield from _functions(node)


def _key(path: Path, folder: Path, roots: Sequence[Path]) -> str:
    if path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    root = next((root for root in roots if path.is_relative_to(root)), path.parent)
    return f"../{path.relative_to(root).as_posix()}"


@dataclass
class Scan:
    """The files that a reference's file imports, itself among them."""

    files: dict[Path, bytes] = field(default_factory=dict)
    shadowed: dict[str, Path] = field(default_factory=dict)
    """Files that are imported nowhere, since gradclip needs the module whose name they have; by that name."""


def scanned(located: Located, what: str) -> Scan:
    """Follow the imports of a file. Raises OwnCodeError, which begins with `what`, where one is no Python."""
    finder, scan = Finder(located.roots), Scan()
    waiting = [(located.path, located.module, located.path.stem == "__init__")]
    waiting += _followed(finder, [located.module])
    while waiting:
        path, module, is_package = waiting.pop()
        if path in scan.files:
            continue
        content = scan.files[path] = _read(path, what)
        names = list(_imported(_tree(path, content, what), module, is_package))
        waiting += _followed(finder, names)
        for name in {name.partition(".")[0] for name in names} & NEVER_OWN:
            beside = (root / end for root in located.roots for end in (f"{name}.py", f"{name}/__init__.py"))
            hidden = [file for file in beside if file.is_file() and file != located.path]
            scan.shadowed |= {name: hidden[0]} if hidden else {}
    return scan


def _followed(finder: Finder, names: Sequence[str]) -> list[tuple[Path, str, bool]]:
    """File, name and kind of the user's modules that importing these names imports."""
    specs = (spec for name in names if name for spec in finder.find_chain(name))
    return [(Path(spec.origin), spec.name, spec.submodule_search_locations is not None) for spec in specs if spec.origin]


def _imported(tree: ast.Module, module: str, is_package: bool) -> Iterator[str]:
    """Dotted names that a file imports; what it takes from a module may be one in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -(node.level - is_package) or None] if node.level and module else []
            base = ".".join([*above, *filter(None, [node.module])])
            if base and (above or not node.level):
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{what}: {path} can't be read: {error.strerror}"]) from None


def _tree(path: Path, content: bytes, what: str) -> ast.Module:
    try:
        return _parsed(content, str(path))
    except SyntaxError as error:
        where = f"{path}, line {error.lineno}" if error.lineno else str(path)
        shown = "".join(traceback.format_exception_only(error)).rstrip()
        raise OwnCodeError(f"{what}: {where} is no Python: {error.msg}", shown) from None
    except ValueError as error:
        raise OwnCodeError(f"{what}: {path} is no Python: {error}") from None


def _parsed(content: bytes, path: str = "<unknown>") -> ast.Module:
    with warnings.catch_warnings(action="ignore"):  # it will be told when the file is imported
        return ast.parse(content, path)
