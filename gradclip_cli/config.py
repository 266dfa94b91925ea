"""Configs: how YAML files and overrides become one `Config`, and how its mistakes are told.

Precedence, weakest first: schema default, `extends`, the file itself, `--set`, a command's own flags.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from gradclip_cli.errors import ConfigError
from gradclip_cli.frameworks import lacking_in_pytorch
from gradclip_cli.schema import (
    CLIPPING_SECTIONS,
    LONGEST_NAME,
    OPTIMIZER_SECTIONS,
    Config,
    Data,
    Engine,
    Loss,
    Model,
    Regularizer,
    Section,
    Training,
)
from gradclip_cli.yaml_tree import Place, Tree, merge, parse, parse_setting

CHOICES = {"clipping": "mode", "optimizer": "name", "model": "cell"}
SWEEPS = "sweeps"  # the folder of the shipped sweeps, beside the configs
MOST_SEEDS = 100_000

_NOWHERE = Place("schema")
# Where a config names no optimizer, mode or cell, these are meant.
_DEFAULTS = Tree(
    {
        section: Tree({choice: Tree(value, _NOWHERE, _NOWHERE)}, _NOWHERE, _NOWHERE)
        for section, choice, value in (("optimizer", "name", "sgd"), ("clipping", "mode", "none"), ("model", "cell", "lstm"))
    },
    _NOWHERE,
    _NOWHERE,
)


def shipped_directory() -> Path:
    """The folder of the configs that travel with gradclip: inside the wheel, or beside the package in a checkout."""
    package = Path(str(resources.files("gradclip_cli")))
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def shipped_names() -> list[str]:
    """Names by which the shipped configs can be run from anywhere, such as `clipvalue` or `adam/clipnorm`."""
    folder = shipped_directory()
    names = (path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))
    return sorted(name for name in names if not name.startswith(f"{SWEEPS}/"))


def shipped_sweeps() -> list[str]:
    """Names by which the shipped sweeps can be run from anywhere, such as `stability`."""
    return sorted(path.stem for path in (shipped_directory() / SWEEPS).glob("*.yaml"))


def find(name: str, beside: Path | None = None) -> Path | None:
    """The file that `name` means: a path (relative to `beside`), else a shipped config's name; None if neither."""
    path = Path(name) if beside is None else beside / name
    if path.is_file():
        return path
    if name.removesuffix(".yaml") in shipped_names():
        return shipped_directory() / f"{name.removesuffix('.yaml')}.yaml"
    return None


def load(name: str, settings: Sequence[str] = ()) -> Config:
    """Load the config that `name` means, with `--set` overrides (`key.path=value`) laid over it.

    Raises ConfigError with every mistake found, each as `file:line:column: what, and what to do`.
    """
    path = find(name)
    if path is None:
        raise ConfigError([_missing_config(name)])
    tree, problems = _read_chain(path)
    overrides = Tree({}, _NOWHERE, _NOWHERE)
    for setting in settings:
        override, mistakes = parse_setting(setting)
        overrides = merge(overrides, override, CHOICES)
        problems += mistakes
    if problems:
        raise ConfigError(problems)
    config = validated(merge(tree, overrides, CHOICES))
    return config if not overrides.value or "name" in overrides.value else _renamed(config, tree, overrides)


def load_all(names: Sequence[str], settings: Sequence[str] = ()) -> list[Config]:
    """Load several configs; raises one ConfigError with the mistakes of all, and where two differ but share a name."""
    configs: dict[str, Config] = {}
    problems: list[str] = []
    for name in names:
        try:
            config = load(name, settings)
        except ConfigError as error:
            problems += [problem for problem in error.problems if problem not in problems]
            continue
        if (other := configs.setdefault(config.name, config)) != config:
            problems.append(f"{name}: its name '{config.name}' is taken by another config here ({_told(other, config)})")
    if problems:
        raise ConfigError(problems)
    return list(configs.values())


def load_stored(path: Path) -> Config:
    """Load a run's `config.yaml`, filling in the defaults of keys that are newer than the run."""
    tree, problems = read_tree(path)
    if problems:
        raise ConfigError(problems)
    return validated(merge(_DEFAULTS, tree, CHOICES))


def to_yaml(config: Config) -> str:
    """The config as YAML, complete, in the schema's order."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def differences(one: Config, other: Config) -> list[tuple[str, Any, Any]]:
    """Dotted keys whose values differ, with both values; None stands for a key that one of them doesn't have."""
    left, right = dict(_leaves(one.model_dump())), dict(_leaves(other.model_dump()))
    keys = list(dict.fromkeys([*left, *right]))
    return [(key, left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)]


def parse_seeds(text: str) -> list[int]:
    """Read a seed list: `10` (the first ten: 0 to 9), `0-9`, or `1,5,7`; parts combine, as in `0-4,7`.

    Raises ConfigError for anything else, an empty range or over 100,000 seeds.
    """
    seeds: list[int] = []
    parts = text.replace(" ", "").split(",")
    if len(parts) == 1 and parts[0].isdecimal():
        parts = [f"0-{int(parts[0]) - 1}"]
    for part in filter(None, parts):
        match = re.fullmatch(r"(\d+)(?:-(-?\d+))?", part)
        if not match:
            raise ConfigError([f"--seeds {text}: expected a count (10), a range (0-9) or a list (1,5,7)"])
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        if last < first:
            raise ConfigError([f"--seeds {text}: the range is empty; write its smaller seed first, or a count of at least 1"])
        if last - first >= MOST_SEEDS:
            raise ConfigError([f"--seeds {text}: over {MOST_SEEDS:,} seeds"])
        seeds += range(first, last + 1)
    if not seeds:
        raise ConfigError([f"--seeds {text}: no seeds; expected a count (10), a range (0-9) or a list (1,5,7)"])
    return list(dict.fromkeys(seeds))


def known_keys() -> list[str]:
    """Dotted keys that `--set` takes, with those of every optimizer and mode."""
    keys = [key for key, _ in _leaves(Config(name="x").model_dump())]
    for choice in CHOICES:
        if choice in ("optimizer", "clipping"):
            keys += [f"{choice}.{key}" for section in _sections(choice).values() for key in section.model_fields]
    return sorted(set(keys))


def json_schema() -> dict[str, Any]:
    """JSON Schema of a config file, for editors. Nothing is required there, because `extends` may supply it."""
    schema = Config.model_json_schema()
    schema["title"] = "gradclip config"
    schema["properties"]["extends"] = {"type": "string", "description": "Another config, whose keys this file's keys override."}
    return dict(json.loads(json.dumps(schema), object_hook=_loosened))


def _loosened(node: dict[str, Any]) -> dict[str, Any]:
    if isinstance(node.get("required"), list):
        del node["required"]
    if isinstance(node.get("oneOf"), list):
        node["anyOf"] = node.pop("oneOf")
        node.pop("discriminator", None)
    return node


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, child in value.items():
        if isinstance(child, dict):
            yield from _leaves(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", child


def _told(one: Config, other: Config) -> str:
    return "; ".join(f"{key}: {left} and {right}" for key, left, right in differences(one, other))


def _renamed(config: Config, tree: Tree, overrides: Tree) -> Config:
    """Give an overridden config a name of its own, made of the overrides that change what is trained."""
    said = dict(_leaves(overrides.plain()))
    try:
        changed = {key for key, *_ in differences(validated(tree), config)}
    except ConfigError:
        changed = set(said)  # The file is not complete without its overrides: all of them count.
    counting = sorted((key, value) for key, value in said.items() if key in changed - {"training.seed"})
    suffix = "".join(f"+{key}={told_in_name(value)}" for key, value in counting)
    name = re.sub(r"[^A-Za-z0-9._+=,-]", "_", config.name + suffix)
    if len(name) > LONGEST_NAME:
        raise ConfigError([f"--set: so many overrides make the arm's name too long; give it one with --set name={config.name}-2"])
    return config.model_copy(update={"name": name})


def told_in_name(value: Any) -> str:
    """A value as a part of an arm's name: 0.1, relu, 32,16."""
    if isinstance(value, list):
        return ",".join(map(told_in_name, value))
    return value if isinstance(value, str) else json.dumps(value)


def read_tree(path: Path) -> tuple[Tree, list[str]]:
    """A YAML file as a tree, with the mistakes found; an empty one where it can't be read."""
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        place = Place(str(path))
        return Tree({}, place, place), [f"{path}: can't be read: {error}"]


def _read_chain(path: Path, below: tuple[Path, ...] = ()) -> tuple[Tree, list[str]]:
    """Read a config and all that it extends, merged; the name is each file's own."""
    tree, problems = read_tree(path)
    whole, others = extended(tree, path, below)
    return whole, problems + others


def extended(tree: Tree, path: Path, below: tuple[Path, ...] = ()) -> tuple[Tree, list[str]]:
    """Lay a config's keys, written in the file `path`, over what it extends; with the mistakes found on the way."""
    problems: list[str] = []
    keys = dict(tree.value)
    extends = keys.pop("extends", None)
    keys.setdefault("name", Tree(path.stem, Place(str(path)), Place(str(path))))
    base = _DEFAULTS
    if extends is not None:
        parent = find(extends.value, path.parent) if isinstance(extends.value, str) else None
        chain = (*below, path.resolve())
        if parent is None:
            problems.append(f"{extends.place}: extends '{extends.value}', but there is no such file{_near(extends.value)}")
        elif parent.resolve() in chain:
            cycle = " -> ".join(file.name for file in (*chain, parent))
            problems.append(f"{extends.place}: extends itself: {cycle}")
        else:
            base, problems = _read_chain(parent, chain)
    return merge(base, Tree(keys, tree.place, tree.key_place), CHOICES), problems


def _near(name: Any) -> str:
    near = difflib.get_close_matches(Path(str(name)).stem, shipped_names(), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else "."


def _missing_config(name: str) -> str:
    return f"{name}: no such config{_near(name)} Shipped with gradclip: {', '.join(shipped_names())}"


def validated(tree: Tree) -> Config:
    """The config that a complete tree says. Raises ConfigError with every mistake and its place."""
    try:
        config = Config.model_validate(tree.plain())
    except ValidationError as error:
        raise ConfigError([_problem(dict(detail), tree) for detail in error.errors(include_url=False)]) from None
    layers = config.model.layer_names
    unknown = [name for name in config.clipping.layer_thresholds if name not in layers]
    if unknown:
        named = tree.value["clipping"].value["layers"].value
        raise ConfigError([_unknown_choice("clipping.layers", named[name].key_place, name, layers) for name in unknown])
    if config.engine.framework == "pytorch" and (lacking := lacking_in_pytorch(config)):
        raise ConfigError([f"{_place(tree, key)}: {key}: {why}" for key, why in lacking.items()])
    return config


def _place(tree: Tree, key: str) -> Place:
    """Where a dotted key's value was written; else the nearest place above it."""
    node = tree
    for part in key.split("."):
        if part not in node.value:
            break
        node = node.value[part]
    return node.place


def _problem(detail: dict[str, Any], tree: Tree) -> str:
    """Tell one of pydantic's errors as a line that names file, line and column."""
    node, path = tree, []
    rest = list(detail["loc"])
    while rest and isinstance(node.value, dict | list):
        part = rest.pop(0)
        if isinstance(node.value, list):
            node = node.value[part] if isinstance(part, int) else node
        elif part in node.value:
            node = node.value[part]
            path.append(part)
        elif detail["type"] == "missing":
            choice = CHOICES.get(path[-1]) if path else None
            if not rest:
                chosen = f" ({choice} {node.value[choice].value} needs it)" if choice and choice in node.value else ""
                return f"{node.key_place}: missing key '{part}' in {'.'.join(path) or 'the config'}{chosen}"
    where = ".".join(path)
    if detail["type"] == "extra_forbidden":
        return f"{node.key_place}: {_unknown_key(path, tree)}"
    if detail["type"] == "union_tag_invalid":
        choice = CHOICES[path[-1]]
        given = node.value[choice]
        return _unknown_choice(f"{where}.{choice}", given.place, given.value, list(_sections(path[-1])))
    if detail["type"] in ("model_attributes_type", "model_type", "dict_type") and path:
        example = f"{{{CHOICES[path[-1]]}: {node.value}}}" if path[-1] in CHOICES else "{key: value}"
        return f"{node.place}: {where} holds keys, not {json.dumps(node.value, default=str)}; write {where}: {example}"
    if detail["type"] == "union_tag_not_found" and path and path[-1] in CHOICES:
        choice = CHOICES[path[-1]]
        return f"{node.key_place}: missing key '{choice}' in {where}; known: {', '.join(_sections(path[-1]))}"
    if detail["type"] == "literal_error":
        known = re.split(r", | or ", detail["ctx"]["expected"])
        return _unknown_choice(where, node.place, node.value, [word.strip("'") for word in known])
    return f"{node.place}: {where}: {_wrong_value(detail, node.plain())}"


def _unknown_choice(where: str, place: Place, value: Any, known: list[str]) -> str:
    near = difflib.get_close_matches(str(value), known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    return f"{place}: {where} can't be {value!r}{hint} Known: {', '.join(known)}"


def _wrong_value(detail: dict[str, Any], value: Any) -> str:
    message: str = detail["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if isinstance(value, bool) and detail["type"] == "string_type":
        message += " (YAML reads a bare yes, no, on or off as true or false: put it in quotes)"
    if detail["type"] == "string_pattern_mismatch":
        message = "letters, digits and . _ + = , - only, the first a letter or digit, since it names a folder"
    shown = "" if isinstance(value, dict) else f", not {value if isinstance(value, float) else json.dumps(value, default=str)}"
    return message + shown


def _sections(key: str) -> dict[str, type[Section]]:
    sections: dict[str, dict[str, type[Section]]] = {
        "optimizer": dict(OPTIMIZER_SECTIONS),
        "clipping": dict(CLIPPING_SECTIONS),
    }
    return sections[key]


def _keys_of(path: list[str], tree: Tree) -> list[str]:
    """The keys that the schema knows at a path of this config."""
    plain: dict[str, type[Section]] = {
        "": Config, "engine": Engine, "data": Data, "model": Model, "model.regularizer": Regularizer, "loss": Loss,
        "training": Training,
    }  # fmt: skip
    where = ".".join(path)
    if where in plain:
        return [*plain[where].model_fields, *(["extends"] if not path else [])]
    if where in ("optimizer", "clipping"):
        chosen = tree.value[where].value[CHOICES[where]].value
        return list(_sections(where)[chosen].model_fields)
    return []


def _unknown_key(path: list[str], tree: Tree) -> str:
    *section, key = path
    where = ".".join(section) or "the config"
    problem = f"unknown key '{key}' in {where}"
    meant = difflib.get_close_matches(key, [mode for mode in CLIPPING_SECTIONS if mode != "none"], n=1, cutoff=0.75)
    if meant and section in (["optimizer"], ["clipping"]):
        return f"{problem}; did you mean '{meant[0]}'? Write clipping: {{mode: {meant[0]}, ...}}"
    if section == ["clipping"] and key == "threshold":
        chosen = tree.value["clipping"].value["mode"].value
        modes = [mode for mode, rule in CLIPPING_SECTIONS.items() if "threshold" in rule.model_fields]
        return f"{problem} where mode is {chosen}; modes with a threshold: {', '.join(modes)}"
    if section == ["clipping"] and key == "layers":
        modes = [mode for mode, rule in CLIPPING_SECTIONS.items() if "layers" in rule.model_fields]
        chosen = tree.value["clipping"].value["mode"].value
        return f"{problem} where mode is {chosen}; modes with thresholds of layers: {', '.join(modes)}"
    if near := difflib.get_close_matches(key, _keys_of(section, tree), n=1):
        return f"{problem}; did you mean '{near[0]}'?"
    others = ["engine", "data", "model", "loss", "optimizer", "clipping", "training"]
    homes = [f"{other}.{key}" for other in others if key in _keys_of([other], tree)]
    if homes:
        return f"{problem}; did you mean {homes[0]}?"
    return f"{problem}; known here: {', '.join(_keys_of(section, tree))}"
