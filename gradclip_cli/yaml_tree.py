"""YAML text as a tree that remembers where each key and value stood, and how trees are laid over each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

NODE_LIMIT = 10_000


@dataclass(frozen=True)
class Place:
    """Where something was written: a file's line and column (from 1), or a command-line option (line 0)."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True)
class Tree:
    """A YAML value with its places. `value` is a scalar, a list, or a mapping whose values are trees again."""

    value: Any
    place: Place
    key_place: Place

    def plain(self) -> Any:
        """The value without places, as `yaml.safe_load` would give it."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


# libyaml reads ten times as fast as Python, which counts where thousands of stored configs are read.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # a base that depends on the build
    """SafeLoader that reads `1e-3` as a number, as YAML 1.2 and people do."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


@dataclass
class _Reader:
    source: str
    loader: _Loader
    problems: list[str] = field(default_factory=list)
    nodes: int = 0

    def place(self, mark: yaml.Mark) -> Place:
        return Place(self.source, mark.line + 1, mark.column + 1)

    def read(self, node: yaml.Node, key_place: Place, above: tuple[yaml.Node, ...] = ()) -> Tree:
        place = self.place(node.start_mark)
        self.nodes += 1
        if self.nodes > NODE_LIMIT or node in above:
            raise _TooLarge
        if isinstance(node, yaml.MappingNode):
            return Tree(self._mapping(node, above), place, key_place)
        if isinstance(node, yaml.SequenceNode):
            self._refuse_other_tag(node, "seq")
            return Tree([self.read(child, place, (*above, node)) for child in node.value], place, key_place)
        try:
            value = self.loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self.problems.append(f"{place}: {_tag_problem(node.tag)}")
            value = None
        return Tree(value, place, key_place)

    def _refuse_other_tag(self, node: yaml.Node, plain: str) -> None:
        if node.tag != f"tag:yaml.org,2002:{plain}":
            self.problems.append(f"{self.place(node.start_mark)}: {_tag_problem(node.tag)}")

    def _mapping(self, node: yaml.MappingNode, above: tuple[yaml.Node, ...]) -> dict[str, Tree]:
        self._refuse_other_tag(node, "map")
        children: dict[str, Tree] = {}
        for key_node, value_node in node.value:
            place = self.place(key_node.start_mark)
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                self.problems.append(f"{place}: a key must be a plain word")
            elif key in children:
                self.problems.append(f"{place}: duplicate key '{key}' (first at {children[key].key_place})")
            else:
                children[key] = self.read(value_node, place, (*above, node))
        return children


class _TooLarge(Exception):
    pass


def _tag_problem(tag: str) -> str:
    if tag.startswith("tag:yaml.org,2002:python"):
        return f"Python tag '!!{tag.removeprefix('tag:yaml.org,2002:')}' is refused: a config holds plain values only"
    return f"tag or value '{tag.removeprefix('tag:yaml.org,2002:')}' is not plain YAML"


def parse(text: str, source: str) -> tuple[Tree, list[str]]:
    """Read YAML text into a mapping's tree, with all problems found on the way (`source:line:column: ...`)."""
    top = Place(source, 1, 1)
    loader = _Loader(text)
    reader = _Reader(source, loader)
    empty = Tree({}, top, top)
    try:
        node = loader.get_single_node()
        tree = reader.read(node, top) if node else empty
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return empty, [f"{reader.place(mark) if mark else top}: not valid YAML: {error.problem or error.context}"]
    except (yaml.YAMLError, RecursionError) as error:
        return empty, [f"{top}: not valid YAML: {str(error).splitlines()[0]}"]
    except _TooLarge:
        return empty, [f"{top}: over {NODE_LIMIT:,} values after expanding its aliases; write them out, or fewer of them"]
    finally:
        loader.dispose()
    if not isinstance(tree.value, dict):
        return empty, [*reader.problems, f"{tree.place}: expected keys with values such as `name: clipvalue`"]
    return tree, reader.problems


def parse_setting(setting: str) -> tuple[Tree, list[str]]:
    """Read `key.path=value` into a tree of one leaf; the value is YAML (`0.1`, `true`, `{mode: none}`)."""
    place = Place(f"--set {setting}")
    keys, equals, text = setting.partition("=")
    parts = keys.strip().split(".")
    if not equals or not all(parts):
        return Tree({}, place, place), [f"{place}: expected KEY.PATH=VALUE, for example optimizer.learning_rate=0.1"]
    inner, problems = parse(f"value: {text}", place.source)
    if problems:
        return Tree({}, place, place), [f"{place}: the value is not valid YAML"]
    tree = _moved(inner.value["value"], place)
    for part in reversed(parts):
        tree = Tree({part: tree}, place, place)
    return tree, []


def _moved(tree: Tree, place: Place) -> Tree:
    value = tree.value
    if isinstance(value, dict):
        value = {key: _moved(child, place) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_moved(child, place) for child in value]
    return Tree(value, place, place)


def merge(base: Tree, above: Tree, choices: Mapping[str, str] | None = None) -> Tree:
    """Lay one mapping over another, key by key.

    `choices` names for some keys the inner key that selects what the rest of their mapping means: where `above` selects
    something else, its mapping replaces the base's whole, so that nothing is inherited that belonged to another choice.
    """
    choices = choices or {}
    merged = dict(base.value)
    for key, child in above.value.items():
        below = merged.get(key)
        mergeable = below is not None and isinstance(below.value, dict) and isinstance(child.value, dict)
        if below is not None and mergeable and not _chooses_anew(below, child, choices.get(key)):
            child = merge(below, child)
        merged[key] = child
    return Tree(merged, above.place, above.key_place)


def _chooses_anew(below: Tree, above: Tree, choice: str | None) -> bool:
    if choice is None or choice not in above.value:
        return False
    old = below.value.get(choice)
    return old is None or bool(old.value != above.value[choice].value)
