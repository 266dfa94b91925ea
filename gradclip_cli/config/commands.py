"""The command of a script: words with placeholders, `{seed}` and `{NAME}` of a config's values; `{{` and `}}` are braces."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from string import Formatter
from typing import Any

from gradclip_cli.config.overrides import written
from gradclip_cli.config.yaml_tree import Place, Tree, shortened

SEED = "seed"
"""The placeholder of a run's seed."""


def placeholders(word: str) -> list[str]:
    """Names of the placeholders in a word. Raises ValueError, which says what is wrong, where its braces can't be read."""
    try:
        parts = list(Formatter().parse(word))
    except ValueError:
        raise ValueError("has a brace alone; write {{ or }} for one that is meant") from None
    named = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    for name, spec, conversion in named:
        if not name:
            raise ValueError("has braces without a name; write {seed} or {NAME}, or {{ and }} for braces that are meant")
        if spec or conversion:
            raise ValueError(f"has more than a name in its braces; write {{{name}}} alone")
    return [name for name, _, _ in named]


def filled(word: str, values: Mapping[str, Any]) -> str:
    """A word with its placeholders filled: numbers, true, false and null as YAML writes them."""
    parts = Formatter().parse(word)
    return "".join(literal + ("" if name is None else written(values[name])) for literal, name, _, _ in parts)


def placeholder_mistakes(tree: Tree) -> Iterator[str]:
    """What is wrong with the placeholders of a valid config's tree: a line each, with its place."""
    words: Sequence[Tree] = tree.value["command"].value
    values: Mapping[str, Tree] = tree.value["values"].value if "values" in tree.value else {}
    used: set[str] = set()
    for word in words:
        try:
            found = placeholders(word.value)
        except ValueError as error:
            yield f"{word.place}: command: {shortened(repr(word.value))} {error}"
            return
        used.update(found)
        yield from (_no_value(word.place, name, values) for name in found if name not in (SEED, *values))
    if SEED in values:
        yield f"{values[SEED].key_place}: values.{SEED}: {{{SEED}}} is each run's own; give yours another name"
    if SEED not in used:
        place = tree.value["command"].place
        yield f"{place}: command: no word has {{{SEED}}}, so that all seeds would be one run; hand it to the script"
    for name in values:
        if name not in used | {SEED}:
            yield f"{values[name].key_place}: values.{name}: no word of `command` has {{{name}}}"


def _no_value(place: Place, name: str, values: Mapping[str, Tree]) -> str:
    near = difflib.get_close_matches(name, [SEED, *values], n=1)
    hint = f"did you mean {{{near[0]}}}?" if near else f"say values: {{{name}: ...}}, or write {{{{ and }}}} for braces."
    return f"{place}: command: {{{name}}} has no value; {hint}"
