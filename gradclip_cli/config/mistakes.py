"""The mistakes of a config: each of pydantic's errors becomes a line with file, line and column, and what to do."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from gradclip_cli.config.kinds import config_class
from gradclip_cli.config.schema import CHOSEN_BY, KINDS
from gradclip_cli.config.yaml_tree import Place, Tree, shortened
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.sections import Section

MOST = 50
"""Mistakes that are described; of more, their number is."""
NOT_A_NUMBER = ("finite_number", "float_type", "float_parsing")
"""pydantic's words for what a number was needed in place of."""


def described(error: ValidationError, tree: Tree) -> list[str]:
    """A line for each of the errors that pydantic found in a config's tree."""
    details = error.errors(include_url=False, include_context=True, include_input=False)
    lines = [_described(dict(detail), tree) for detail in details[:MOST]]
    return [*lines, f"and {len(details) - MOST:,} more mistakes"] if len(details) > MOST else lines


def place_of(tree: Tree, key: str) -> Place:
    """Where a dotted key's value was written; else the nearest place above it."""
    return _nearest(tree, key.split("."))[0].place


def key_place_of(tree: Tree, key: str) -> Place:
    """Where a dotted key itself was written; else the nearest place above it."""
    return _nearest(tree, key.split("."))[0].key_place


def unknown_choice(where: str, place: Place, value: Any, known: Sequence[str]) -> str:
    """A line on a value that is none of the known ones."""
    near = difflib.get_close_matches(str(value), known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    shown = repr(value) if isinstance(value, str) else _shown(value)
    return f"{place}: {where} can't be {shortened(shown)}{hint} Known: {', '.join(known)}"


def _nearest(tree: Tree, location: Sequence[str | int]) -> tuple[Tree, list[str]]:
    """The node at a location, else the nearest above it that is there, with its path."""
    node, path = tree, []
    for part in location:
        if isinstance(node.value, dict) and part in node.value:
            node = node.value[part]
            path.append(str(part))
        elif isinstance(node.value, list) and isinstance(part, int):
            node = node.value[part]
    return node, path


def _described(detail: dict[str, Any], tree: Tree) -> str:
    # Below a section of several kinds pydantic names the kind before the key.
    location = [part for index, part in enumerate(detail["loc"]) if index != 1 or detail["loc"][0] not in KINDS]
    node, path = _nearest(tree, location)
    where, kind = ".".join(path), detail["type"]
    choice = CHOSEN_BY.get(where)
    if kind == "missing":
        needed = f" ({choice} {node.value[choice].value} needs it)" if choice and choice in node.value else ""
        return f"{node.key_place}: missing key '{location[-1]}' in {where or 'the config'}{needed}"
    if kind == "extra_forbidden":
        return f"{node.key_place}: {_unknown_key(path, tree)}"
    if kind == "union_tag_invalid" and choice:
        return unknown_choice(f"{where}.{choice}", node.value[choice].place, node.value[choice].plain(), list(KINDS[where]))
    if kind == "union_tag_not_found" and choice:
        return f"{node.key_place}: missing key '{choice}' in {where}; known: {', '.join(KINDS[where])}"
    if kind in ("model_attributes_type", "model_type", "dict_type") and path:
        return f"{node.place}: {where} holds keys, not {_shown(node.plain())}; {_example(path, node, tree)}"
    if kind == "literal_error":
        known = re.split(r", | or ", detail["ctx"]["expected"])
        return unknown_choice(where, node.place, node.plain(), [word.strip("'") for word in known])
    return f"{node.place}: {where}: {_wrong_value(detail, node.plain(), where)}"


def _example(path: Sequence[str], node: Tree, tree: Tree) -> str:
    where = ".".join(path)
    if where in KINDS and isinstance(node.value, str) and node.value in KINDS[where]:
        return f"write {where}: {{{CHOSEN_BY[where]}: {node.value}}}"
    known = _keys_at(path, tree)
    return f"known here: {', '.join(known)}" if known else f"write {where}: {{key: value}}"


def _wrong_value(detail: dict[str, Any], value: Any, where: str) -> str:
    message = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else str(detail["msg"])
    message = message[0].lower() + message[1:]
    if detail["type"] in NOT_A_NUMBER:
        message += ", such as 0.1"
    if value == math.inf and where == "clipping.threshold":
        message += " (no clipping is clipping: {mode: none})"
    if isinstance(value, bool) and detail["type"] == "string_type":
        message += " (YAML reads a bare yes, no, on or off as true or false: put it in quotes)"
    if isinstance(value, dict) and detail["type"] == "string_type":
        message += ' (YAML reads bare braces as keys: put them in quotes, as in "{seed}")'
    if detail["type"] == "string_pattern_mismatch":
        message = "letters, digits and . _ + = , - only, the first a letter or digit, since it names a folder"
    return message if isinstance(value, dict) else f"{message}, not {_shown(value)}"


def _shown(value: Any) -> str:
    return shortened(str(value) if isinstance(value, float) else json.dumps(value, default=str))


def _keys_at(path: Sequence[str], tree: Tree | None = None) -> list[str]:
    """The keys that the schema knows at a path; of several kinds those of the one that `tree` chooses, else those of all."""
    if not path:
        return [*(key for key in config_class(_keys_of(tree)).model_fields if key != "folder"), "extends"]
    if path[0] in KINDS:
        chosen = _kind(path[0], tree) if tree else None
        kinds = [chosen] if chosen else list(KINDS[path[0]].values())
        return list(dict.fromkeys(key for kind in kinds for key in kind.model_fields)) if len(path) == 1 else []
    section: type[Section] = config_class(_keys_of(tree))
    for part in path:
        field = section.model_fields.get(part)
        if not field or not isinstance(field.annotation, type) or not issubclass(field.annotation, Section):
            return []
        section = field.annotation
    return list(section.model_fields)


def _keys_of(tree: Tree | None) -> dict[str, Any]:
    return {key: child.value for key, child in tree.value.items()} if tree else {}


def _kind(section: str, tree: Tree) -> type[Section] | None:
    """The kind that a section chooses; None where it says none that there is."""
    chosen = tree.value[section].value if section in tree.value else None
    choice = chosen.get(CHOSEN_BY[section]) if isinstance(chosen, dict) else None
    return KINDS[section].get(choice.value) if choice and isinstance(choice.value, str) else None


def _unknown_key(path: Sequence[str], tree: Tree) -> str:
    *section, key = path
    problem = f"unknown key '{shortened(key)}' in {'.'.join(section) or 'the config'}"
    meant = difflib.get_close_matches(key, [mode for mode in RULES if mode != "none"], n=1, cutoff=0.75)
    if meant and section in (["optimizer"], ["clipping"]):
        return f"{problem}; did you mean '{meant[0]}'? Write clipping: {{mode: {meant[0]}, ...}}"
    if section == ["clipping"] and key in ("threshold", "layers"):
        modes = [mode for mode, rule in RULES.items() if key in rule.model_fields]
        what = "a threshold" if key == "threshold" else "thresholds of layers"
        return f"{problem} where mode is {tree.value['clipping'].value['mode'].value}; modes with {what}: {', '.join(modes)}"
    if near := difflib.get_close_matches(key, _keys_at(section, tree), n=1):
        return f"{problem}; did you mean '{near[0]}'?"
    if homes := [other for other in _keys_at([], tree) if key in _keys_at([other], None if other in KINDS else tree)]:
        return f"{problem}; did you mean {homes[0]}.{key}?"
    return f"{problem}; known here: {', '.join(_keys_at(section, tree))}"
