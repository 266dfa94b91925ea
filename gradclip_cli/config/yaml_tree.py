"""YAML text as a tree that remembers where each key and value stood, and how trees are laid over each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

NODE_LIMIT = 10_000
DEPTH_LIMIT = 50
LONGEST_NUMBER = 100
"""Letters of a scalar that is no text, such as a number; longer ones take Python very long to read."""
LONGEST_SHOWN = 80
_STANDARD = "tag:yaml.org,2002:"
_PLAIN = ("null", "bool", "int", "float", "timestamp", "str")


def shortened(text: str) -> str:
    """A text as a message quotes it: its beginning, where it is long."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


@dataclass(frozen=True)
class Place:
    """Where something was written: a file's line and column (from 1), or a command-line option (line 0)."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True)
class Mistake:
    """What is wrong in a YAML text, and where."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


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
    mistakes: list[Mistake] = field(default_factory=list)
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
        return Tree(self._scalar(node, place), place, key_place)

    def _scalar(self, node: yaml.Node, place: Place) -> Any:
        kind = node.tag.removeprefix(_STANDARD)
        article = "an" if kind == "int" else "a"
        if kind not in _PLAIN:
            problem = _tag_problem(node.tag)
        elif kind != "str" and len(node.value) > LONGEST_NUMBER:
            problem = f"{article} {kind} of {len(node.value):,} letters; up to {LONGEST_NUMBER} are read"
        else:
            try:
                return self.loader.construct_object(node)
            except Exception:  # PyYAML lets through whatever Python raises: KeyError, AttributeError, OverflowError
                problem = f"{shortened(node.value)!r} is no {kind}; a text stands in quotes, without a tag"
        self.mistakes.append(Mistake(place, problem))
        return None

    def _refuse_other_tag(self, node: yaml.Node, plain: str) -> None:
        if node.tag != f"{_STANDARD}{plain}":
            self.mistakes.append(Mistake(self.place(node.start_mark), _tag_problem(node.tag)))

    def _mapping(self, node: yaml.MappingNode, above: tuple[yaml.Node, ...]) -> dict[str, Tree]:
        self._refuse_other_tag(node, "map")
        children: dict[str, Tree] = {}
        for key_node, value_node in node.value:
            place = self.place(key_node.start_mark)
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                self.mistakes.append(Mistake(place, "a key must be a plain word"))
            elif key in children:
                first = children[key].key_place
                self.mistakes.append(Mistake(place, f"duplicate key '{shortened(key)}' (first at {first})"))
            else:
                children[key] = self.read(value_node, place, (*above, node))
        return children


class _TooLarge(Exception):
    pass


class _TooDeep(Exception):
    def __init__(self, mark: Any) -> None:
        self.mark = mark


def _tag_problem(tag: str) -> str:
    name = shortened(tag.removeprefix(_STANDARD))
    if name.startswith("python"):
        return f"Python tag '!!{name}' is refused: a config holds plain values only"
    return f"tag or value '{name}' is not plain YAML"


def _require_modest(text: str) -> None:
    """Raise _TooLarge or _TooDeep for YAML that composing would take gigabytes for, or overflow the stack of the C code."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=_Loader):
        nodes += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_LIMIT:
            raise _TooDeep(event.start_mark)
        if nodes > 2 * NODE_LIMIT + 1:  # keys and their values
            raise _TooLarge


def parse(text: str, source: str) -> tuple[Tree, list[str]]:
    """Read YAML text into a mapping's tree, with all problems found on the way (`source:line:column: ...`)."""
    tree, mistakes = _read(text, source)
    return tree, [str(mistake) for mistake in mistakes]


def _read(text: str, source: str) -> tuple[Tree, list[Mistake]]:
    """A mapping's tree with the mistakes in it; an empty one where the text is no mapping, or can't be read."""
    top = Place(source, 1, 1)
    empty = Tree({}, top, top)
    loader = _Loader(text)
    reader = _Reader(source, loader)
    try:
        _require_modest(text)
        node = loader.get_single_node()
        tree = reader.read(node, top) if node else empty
    except (yaml.YAMLError, _TooDeep, _TooLarge) as error:
        return empty, [_unreadable(error, reader, top)]
    finally:
        loader.dispose()
    if not isinstance(tree.value, dict):
        return empty, [*reader.mistakes, Mistake(tree.place, "expected keys with values such as `name: clipvalue`")]
    return tree, reader.mistakes


def _unreadable(error: Exception, reader: _Reader, top: Place) -> Mistake:
    """Why a text could not be read at all; at its beginning where it isn't known where."""
    if isinstance(error, _TooDeep):
        return Mistake(reader.place(error.mark), f"nested over {DEPTH_LIMIT} deep; a config needs but a few levels")
    if isinstance(error, _TooLarge):
        return Mistake(top, f"over {NODE_LIMIT:,} values, counted after expanding its aliases; a config needs far fewer")
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        return Mistake(reader.place(mark) if mark else top, f"not valid YAML: {error.problem or error.context}")
    return Mistake(top, f"not valid YAML: {str(error).splitlines()[0]}")


def parse_value(text: str, source: str) -> tuple[Tree, list[str]]:
    """Read the YAML text of a single value (`0.1`, `true`, `{mode: none}`), placed at `source` as a whole."""
    place = Place(source)
    tree, mistakes = _read(f"value: {text}", "")
    messages = [mistake.message for mistake in mistakes]
    if not messages and len(tree.value) > 1:
        messages = ["expected one value"]
    if messages:
        return Tree({}, place, place), [f"{place}: {message}" for message in messages]
    return _moved(tree.value["value"], place), []


def nested(key: str, value: Tree, place: Place) -> Tree:
    """A tree that holds nothing but `value`, at a dotted key that was written at `place`."""
    # What no config can have is left in one piece, so that a tree is never deeper than those that are read.
    for part in reversed(key.split(".", DEPTH_LIMIT)):
        value = Tree({part: Tree(value.value, value.place, place)}, place, place)
    return value


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Tree]]:
    """Dotted keys of a mapping with their values: scalars, lists and empty mappings."""
    for key, child in tree.value.items():
        if isinstance(child.value, dict) and child.value:
            yield from leaves(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", child


def without(tree: Tree, key: str) -> Tree:
    """The mapping without a dotted key, and without what holds nothing else."""
    first, _, rest = key.partition(".")
    children = dict(tree.value)
    child = children.pop(first)
    if rest and (left := without(child, rest)).value:
        children[first] = left
    return Tree(children, tree.place, tree.key_place)


def _moved(tree: Tree, place: Place) -> Tree:
    value = tree.value
    if isinstance(value, dict):
        value = {key: _moved(child, place) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_moved(child, place) for child in value]
    return Tree(value, place, place)


@dataclass(frozen=True)
class Choice:
    """The key of a section that selects what others of its keys mean; `owners` names the choice of those that have but one.

    Without `owners` all of them depend on it.
    """

    key: str
    owners: Mapping[str, str] | None = None

    def kept(self, below: Tree, above: Tree) -> Tree:
        """What `above` inherits of a section below it: nothing that belongs to another choice than its own."""
        old, new = below.value.get(self.key), above.value.get(self.key)
        if new is None or (old is not None and old.value == new.value):
            return below
        kept = {
            key: child
            for key, child in below.value.items()
            if self.owners is not None and self.owners.get(key, new.value) == new.value
        }
        return Tree(kept, below.place, below.key_place)


def merge(base: Tree, above: Tree, choices: Mapping[str, Choice] | None = None) -> Tree:
    """Lay one mapping over another, key by key.

    `choices` are those of the mapping's sections; what belongs to another choice is not inherited. Within a section an empty
    mapping replaces what it is laid over: it says that there is nothing.
    """
    merged = dict(base.value)
    for key, child in above.value.items():
        below = merged.get(key)
        if below is not None and isinstance(below.value, dict) and isinstance(child.value, dict):
            if choices is None and not child.value:
                below = child
            elif choices and key in choices:
                below = choices[key].kept(below, child)
            child = merge(below, child)
        merged[key] = child
    return Tree(merged, above.place, above.key_place)
