"""Overrides: a set of keys with values that is laid over a config, whatever their order.

All of them are laid together first, and then over the config at once: so none is lost to a choice (`optimizer.name`) that
another one makes. `--set` and the axes of a sweep's grid are both overrides.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradclip_cli.config.schema import CHOSEN_BY, KINDS, Config
from gradclip_cli.config.yaml_tree import DEPTH_LIMIT, Choice, Place, Tree, leaves, merge, nested, parse_value, shortened

CHOICES: Mapping[str, Choice] = {
    **{section: Choice(key) for section, key in sorted(CHOSEN_BY.items())},
    "model": Choice("cell", {"forget_bias": "lstm"}),
}
"""What selects the meaning of a section's keys."""


@dataclass(frozen=True)
class Override:
    """A dotted key with its value; `place` is where a mistake in the key stands."""

    key: str
    value: Tree
    place: Place

    @property
    def tree(self) -> Tree:
        return nested(self.key, self.value, self.place)

    @property
    def leaves(self) -> Iterator[tuple[str, Tree]]:
        """What it says, by dotted key: scalars, lists and empty mappings."""
        return leaves(self.tree)


def read_settings(settings: Sequence[str]) -> tuple[list[Override], list[str]]:
    """Read `--set` options (`key.path=value`, the value in YAML), with the mistakes found, contradictions among them."""
    overrides, problems = [], []
    for setting in settings:
        key, equals, text = setting.partition("=")
        key, place = key.strip(), Place(f"--set {shortened(setting)}")
        if not equals or not all(key.split(".")):
            problems.append(f"{place}: expected KEY.PATH=VALUE, for example optimizer.learning_rate=0.1")
            continue
        if key.count(".") >= DEPTH_LIMIT:
            problems.append(f"{place}: nested over {DEPTH_LIMIT} deep")
            continue
        value, mistakes = parse_value(text, place.source)
        override = Override(key, value, place)
        problems += mistakes or _misplaced(override)
        overrides.append(override)
    return overrides, problems or contradictions(overrides)


def _misplaced(override: Override) -> list[str]:
    first, _, inner = override.key.partition(".")
    if first == "extends":
        return [f"{override.place}: extends stands in files only; name the other config in place of this one"]
    if override.value.value == {} and not inner:
        return [f"{override.place}: says nothing; name one of the section's keys, as in {first}.KEY=VALUE"]
    return []


def contradictions(overrides: Sequence[Override]) -> list[str]:
    """What several overrides say of one key, where it is not the same."""
    found: dict[tuple[Place, Place], str] = {}
    said: dict[str, tuple[Override, Tree]] = {}
    above: dict[str, Override] = {}  # keys that hold keys which are said
    for override in _general_first(overrides):
        for key, value in override.leaves:
            parts = key.split(".")
            prefixes = [".".join(parts[:length]) for length in range(1, len(parts))]
            others = [said[prefix][0] for prefix in prefixes if prefix in said]
            others += [above[key]] if key in above else []
            others += [said[key][0]] if key in said and not _same(said[key][1], value) else []
            for other in others:
                message = f"{override.place} contradicts {other.place} ({key}); leave one of them out"
                found.setdefault((override.place, other.place), message)
            said.setdefault(key, (override, value))
            above |= {prefix: override for prefix in prefixes if prefix not in above}
    return list(found.values())


def _same(one: Tree, other: Tree) -> bool:
    # To Python 1 is True.
    return bool(one.plain() == other.plain()) and isinstance(one.value, bool) == isinstance(other.value, bool)


def together(overrides: Sequence[Override]) -> Tree:
    """Overrides as one. Where two speak of one key, the more special one wins: a section's key over the whole section."""
    whole = Tree({}, Place("overrides"), Place("overrides"))
    for override in _general_first(overrides):
        whole = merge(whole, override.tree)
    return whole


def _general_first(overrides: Sequence[Override]) -> list[Override]:
    """In an order that is not the one in which they were given."""
    return sorted(overrides, key=lambda override: (override.key.count("."), override.key, repr(override.value.plain())))


def laid_over(base: Tree, overrides: Tree) -> Tree:
    """A config's tree with overrides laid over it."""
    return merge(base, overrides, CHOICES)


def resets(base: Tree, overrides: Tree, config: Config) -> list[str]:
    """What becomes of keys that the base says and no override, where another choice was made: a sentence each.

    `config` is what `overrides` make of `base`.
    """
    said = dict(leaves(overrides))
    after = dict(values(config.model_dump()))
    sentences = []
    for section, choice in CHOICES.items():
        below, above = base.value.get(section), overrides.value.get(section)
        if not (below and above and isinstance(below.value, dict) and {choice.key} <= below.value.keys() & above.value.keys()):
            continue
        old, new = below.value[choice.key].value, above.value[choice.key].value
        usual = _defaults(section, old)
        if old == new or set(_defaults(section, new)) == {choice.key}:
            continue  # The same again, or one that has nothing to set, as no clipping has.
        for key, value in leaves(below):
            path, was = f"{section}.{key}", value.plain()
            if key == choice.key or path in said:
                continue
            if path in after and after[path] != was:
                whose = f"{new}'s" if choice.owners is None else "the default"
                change = f"resets {path} to {whose} {written(after[path])}"
            elif path not in after and (key not in usual or usual[key] != was):
                change = f"drops {path}"
            else:
                continue
            sentences.append(f"{section}.{choice.key}={new} {change} (was {written(was)})")
    return sentences


def _defaults(section: str, chosen: Any) -> dict[str, Any]:
    kind = KINDS.get(section, {}).get(str(chosen))
    return {key: field.default for key, field in kind.model_fields.items()} if kind else {}


def values(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of a plain mapping with their values."""
    for key, child in mapping.items():
        if isinstance(child, dict):
            yield from values(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", child


def written(value: Any) -> str:
    """A value as it stands in an arm's name and in sentences: 0.1, relu, null, 32,16."""
    if isinstance(value, list):
        return ",".join(map(written, value))
    return value if isinstance(value, str) else json.dumps(value, default=str)
