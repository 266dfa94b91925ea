"""Configs: how YAML files and overrides become one `Config`.

Precedence, weakest first: schema default, `extends`, the file itself, `--set`, a command's own flags.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from gradclip_cli.config.article import ArticleConfig
from gradclip_cli.config.commands import placeholder_mistakes
from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.config.kinds import config_class, config_of
from gradclip_cli.config.mistakes import described, place_of, unknown_choice
from gradclip_cli.config.overrides import CHOICES, laid_over, read_settings, resets, together, values, written
from gradclip_cli.config.own import MOST_EVERY, OWN_SECTIONS, OwnConfig, Records
from gradclip_cli.config.own_files import placed, started_beside
from gradclip_cli.config.recorded import SEEN, RecordedConfig
from gradclip_cli.config.schema import KINDS, LONGEST_NAME, Config
from gradclip_cli.config.yaml_tree import Place, Tree, leaves, merge, parse, shortened, without
from gradclip_cli.errors import ConfigError, StoreError
from gradclip_cli.files import Readable, read_bounded, shipped_folder
from gradclip_cli.limits import MOST_CONFIG_BYTES

SWEEPS, STUDIES = "sweeps", "studies"  # the folders of the shipped ones, beside the configs
MOST_FILES = 20
MOST_SECTIONS = 1000

_NOWHERE = Place("schema")


def _nowhere(value: Any) -> Tree:
    return Tree(value, _NOWHERE, _NOWHERE)


def _defaults(kind: type[Config]) -> Tree:
    """What is meant where a config doesn't say what the meaning of a section's keys depends on: the schema's own choices."""
    chosen = {section: (choice.key, kind.model_fields[section].default) for section, choice in CHOICES.items()}
    return _nowhere({name: _nowhere({key: _nowhere(getattr(at, key))}) for name, (key, at) in chosen.items() if hasattr(at, key)})


_DEFAULTS: dict[type[Config], Tree] = {kind: _defaults(kind) for kind in (ArticleConfig, OwnConfig, RecordedConfig)}


@dataclass(frozen=True)
class Loaded:
    """A config, and what another choice made by an override has reset in it: a sentence for each key."""

    config: Config
    resets: tuple[str, ...] = ()


def shipped_directory() -> Path:
    """The folder of the configs that travel with gradclip."""
    return shipped_folder("configs")


def shipped_names() -> list[str]:
    """Names by which the shipped configs can be run from anywhere, such as `clipvalue` or `adam/clipnorm`."""
    folder = shipped_directory()
    names = (path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))
    return sorted(name for name in names if not name.startswith((f"{SWEEPS}/", f"{STUDIES}/")))


def shipped_sweeps() -> list[str]:
    """Names by which the shipped sweeps can be run from anywhere, such as `stability`."""
    return shipped_in(SWEEPS)


def shipped_studies() -> list[str]:
    """Names by which the shipped studies can be trained from anywhere."""
    return shipped_in(STUDIES)


def shipped_in(folder: str) -> list[str]:
    """Names of the shipped files in a folder beside the configs."""
    return sorted(path.stem for path in (shipped_directory() / folder).glob("*.yaml"))


def find(name: str, beside: Path | None = None) -> Path | None:
    """The file that `name` means: a path (relative to `beside`), else a shipped config's name; None if neither."""
    path = Path(name) if beside is None else beside / name
    shipped = name.removesuffix(".yaml")
    if not is_file(path) and shipped in shipped_names():
        return shipped_directory() / f"{shipped}.yaml"
    return path if exists(path) else None


def exists(path: Path) -> bool:
    """Whether there is anything at a path, be it a folder or a pipe; a name that no file can have is nothing."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether a path is a regular file's."""
    return exists(path) and path.is_file()


def load(name: str, settings: Sequence[str] = ()) -> Config:
    """Load the config that `name` means, with `--set` overrides (`key.path=value`) laid over it, whatever their order.

    Raises ConfigError with every mistake found, each as `file:line:column: what, and what to do`.
    """
    return read(name, settings).config


def from_text(text: str, source: str) -> Config:
    """The config that a YAML text says, whose relative paths begin where the file `source` would be. Raises ConfigError."""
    tree, problems = parse(text, source)
    whole, others = extended(tree, Path(source))
    if problems or others:
        raise ConfigError([*problems, *others])
    return validated(whole)


def load_all(names: Sequence[str], settings: Sequence[str] = (), framework: str | None = None) -> list[Config]:
    """Load several configs as `load` does; raises ConfigError as `read_all` does."""
    return [loaded.config for loaded in read_all(names, settings, framework)]


def read(name: str, settings: Sequence[str] = (), framework: str | None = None) -> Loaded:
    """Load a config as `load` does, and say what its overrides reset. Raises ConfigError.

    A `framework` trains it whatever it says, and leaves its name alone; another one's engine settings are at their defaults.
    """
    path = find(name)
    if path is None:
        raise ConfigError([_missing_config(name)])
    base, problems = _read_chain(path)
    given, mistakes = read_settings(settings)
    if problems or mistakes:
        raise ConfigError([*problems, *mistakes])
    overrides = together(given)
    whole = laid_over(base, overrides)
    config = validated(whole)
    require_to_be_trained(config, whole)
    if framework and isinstance(config, RecordedConfig):
        raise ConfigError([f"--framework: {name} trains by a script of its own, in whatever framework that is written in"])
    base_name = config.name
    if framework and framework != config.engine.framework:
        config = validated(_trained_by(framework, whole))
    if "name" not in overrides.value:
        config = config.model_copy(update={"name": name_with(config.name, base, overrides)})
    if len(config.name) > LONGEST_NAME:
        raise ConfigError([f"--set: so many overrides make the arm's name too long; give it one with --set name={base_name}-2"])
    return Loaded(config, tuple(resets(base, overrides, config)))


def require_to_be_trained(config: Config, tree: Tree) -> None:
    """Raises ConfigError where a config can't be trained, or says what only a recorder can say, or has wrong placeholders."""
    if not isinstance(config, RecordedConfig):
        return
    if config.command is None:
        raise ConfigError([f"{place_of(tree, 'kind')}: a recorded run is trained by its own loop; name that in `command`"])
    planned = config.planned
    seen = [key for key in tree.value if key in SEEN and getattr(config, key) != getattr(planned, key)]
    problems = [f"{place_of(tree, key)}: {key}: is seen by the recorder in the script, and can't be said" for key in seen]
    length = [f"training.{key}" for key in ("epochs", "steps_per_epoch") if getattr(config.training, key) != 1]
    problems += [f"{place_of(tree, key)}: {key}: the script says how long; it can be one of `values`" for key in length]
    problems += placeholder_mistakes(tree)
    if problems:
        raise ConfigError(problems)


def _trained_by(framework: str, tree: Tree) -> Tree:
    """A config's tree with another framework, and nothing else in its section."""
    place = Place("--framework")
    engine = Tree({"framework": Tree(framework, place, place)}, place, place)
    return Tree({**tree.value, "engine": engine}, tree.place, tree.key_place)


def read_all(names: Sequence[str], settings: Sequence[str] = (), framework: str | None = None) -> list[Loaded]:
    """Load several configs; raises one ConfigError with the mistakes of all, and where two differ but share a name."""
    found: dict[str, Loaded] = {}
    problems: list[str] = []
    for name in names:
        try:
            loaded = read(name, settings, framework)
        except ConfigError as error:
            problems += [problem for problem in error.problems if problem not in problems]
            continue
        config, other = loaded.config, found.setdefault(loaded.config.name, loaded).config
        if other != config:
            problems.append(f"{name}: its name '{config.name}' is taken by another config here ({_differing(other, config)})")
    if problems:
        raise ConfigError(problems)
    return list(found.values())


def load_stored(path: Readable) -> Config:
    """Load a run's `config.yaml` as `parse_stored` does. Raises ConfigError where it can't be read, too."""
    return _stored(*read_tree(path))


def parse_stored(text: bytes, path: Readable) -> Config:
    """The config that a run's `config.yaml` says, with the defaults of keys that are newer than the run. Raises ConfigError."""
    return _stored(*_tree_of(text, path))


def _stored(tree: Tree, problems: Sequence[str]) -> Config:
    if problems:
        raise ConfigError(problems)
    return validated(merge(_DEFAULTS[_kind(tree)], tree, CHOICES))


def _kind(tree: Tree) -> type[Config]:
    return config_class({key: child.value for key, child in tree.value.items()})


def to_yaml(config: Config) -> str:
    """The config as YAML, complete, in the schema's order."""
    sections = config.model_dump(mode="json").items()
    return "".join(_section_as_yaml(json.dumps({key: value})) for key, value in sections)


@functools.lru_cache(maxsize=MOST_SECTIONS)
def _section_as_yaml(section: str) -> str:
    """Kept, since configs of thousands of runs differ in one section, and PyYAML takes milliseconds for all of them."""
    return yaml.safe_dump(json.loads(section), sort_keys=False)


def differences(one: Config, other: Config) -> list[tuple[str, Any, Any]]:
    """Dotted keys whose values differ, with both values; None stands for a key that one of them doesn't have."""
    left, right = dict(values(one.model_dump())), dict(values(other.model_dump()))
    keys = list(dict.fromkeys([*left, *right]))
    return [(key, left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)]


def known_keys() -> list[str]:
    """Dotted keys that `--set` takes, with those of every optimizer and mode."""
    keys = [key for key, _ in values(ArticleConfig(name="x").model_dump())]
    keys += [f"{section}.{key}" for section, kind in OWN_SECTIONS.items() for key in kind.model_fields] + ["metrics"]
    keys += [f"records.{key}" for key in Records.model_fields]
    keys += [f"{section}.{key}" for section, kinds in KINDS.items() for kind in kinds.values() for key in kind.model_fields]
    return sorted(set(keys))


def json_schema() -> dict[str, Any]:
    """JSON Schema of a config file, for editors. Nothing is required there, because `extends` may supply it."""
    kinds = TypeAdapter(ArticleConfig | OwnConfig | RecordedConfig).json_schema()
    extends = {"type": "string", "description": "Another config, whose keys this file's keys override."}
    for kind in (ArticleConfig, OwnConfig, RecordedConfig):
        kinds["$defs"][kind.__name__]["properties"] |= {"extends": extends}
    for kind in (OwnConfig, RecordedConfig):
        del kinds["$defs"][kind.__name__]["properties"]["folder"]
    for seen in SEEN:
        del kinds["$defs"][RecordedConfig.__name__]["properties"][seen]
    return dict(json.loads(json.dumps({"title": "gradclip config", **kinds}), object_hook=_loosened))


def _loosened(node: dict[str, Any]) -> dict[str, Any]:
    if isinstance(node.get("required"), list):
        del node["required"]
    if isinstance(node.get("oneOf"), list):
        node["anyOf"] = node.pop("oneOf")
        node.pop("discriminator", None)
    return node


def _differing(one: Config, other: Config) -> str:
    return "; ".join(f"{key}: {left} and {right}" for key, left, right in differences(one, other))


def name_with(name: str, base: Tree, overrides: Tree) -> str:
    """A name with the overrides that change what is trained, so that no result is taken for another's.

    An override that the base already says, or another one implies, changes nothing.
    """
    if not overrides.value:
        return name
    whole = _valid(laid_over(base, overrides))
    counting = sorted(
        (key, value.plain())
        for key, value in leaves(overrides)
        if key != "training.seed" and (whole is None or _valid(laid_over(base, without(overrides, key))) != whole)
    )
    suffix = "".join(f"+{key}={written(value)}" for key, value in counting)
    return name + re.sub(r"[^A-Za-z0-9._+=,-]", "_", suffix)


def _valid(tree: Tree) -> Config | None:
    """The config of a tree; None where it is not complete without some override."""
    try:
        return validated(tree)
    except ConfigError:
        return None


def read_tree(path: Readable) -> tuple[Tree, list[str]]:
    """A YAML file as a tree, with the mistakes found; an empty one where it can't be read."""
    try:
        return _tree_of(read_bounded(path, MOST_CONFIG_BYTES), path)
    except StoreError as error:
        return _unreadable(path, str(error))


def _tree_of(text: bytes, path: Readable) -> tuple[Tree, list[str]]:
    try:
        return parse(text.decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        return _unreadable(path, f"{path}: can't be read: {error}")


def _unreadable(path: Readable, problem: str) -> tuple[Tree, list[str]]:
    return Tree({}, Place(str(path)), Place(str(path))), [problem]


def _read_chain(path: Path, below: tuple[Path, ...] = ()) -> tuple[Tree, list[str]]:
    """Read a config and all that it extends, merged; the name is each file's own."""
    tree, problems = read_tree(path)
    if not tree.value and not problems:
        problems = [f"{path}:1:1: is empty; say at least what it extends, such as `extends: none`"]
    named = {"name": Tree(path.stem, Place(str(path)), Place(str(path))), **tree.value}
    whole, others = extended(Tree(named, tree.place, tree.key_place), path, below)
    return whole, problems + others


def extended(tree: Tree, path: Path, below: tuple[Path, ...] = (), verb: str = "extends") -> tuple[Tree, list[str]]:
    """Lay a config's keys, written in the file `path`, over what it extends; with the mistakes found on the way.

    `verb` is how a mistake says that the other config is extended.
    """
    keys = dict(tree.value)
    extends = keys.pop("extends", None)
    base, problems = _extended_config(extends, path, (*below, path.resolve()), verb) if extends else (_nowhere({}), [])
    own = Tree(keys, tree.place, tree.key_place)
    return _of_its_kind(merge(base if extends else _DEFAULTS[_kind(own)], own, CHOICES)), problems


def _of_its_kind(tree: Tree) -> Tree:
    """A config's tree with its own kind's defaults, where a file that it extends could not know of which kind it would be."""
    sections, defaults = dict(tree.value), _DEFAULTS[_kind(tree)].value
    for section, choice in CHOICES.items():
        said = sections.get(section)
        if said and isinstance(said.value, dict) and choice.key in said.value and said.value[choice.key].place is _NOWHERE:
            meant = defaults[section].value if section in defaults else {}
            others = {key: child for key, child in said.value.items() if key != choice.key}
            sections[section] = Tree({**meant, **others}, said.place, said.key_place)
    return Tree(sections, tree.place, tree.key_place)


def _extended_config(extends: Tree, path: Path, chain: tuple[Path, ...], verb: str) -> tuple[Tree, list[str]]:
    """The config that is extended, with all that it extends itself; without it nothing, and what is wrong."""
    if not isinstance(extends.value, str):
        shown = shortened(json.dumps(extends.plain(), default=str))
        return _nowhere({}), [f"{extends.place}: extends one config, by file or shipped name, not {shown}"]
    parent = find(extends.value, path.parent)
    if parent is None:
        name = shortened(extends.value)
        return _nowhere({}), [f"{extends.place}: {verb} '{name}', but there is no such file{_near(extends.value, path.parent)}"]
    if parent.resolve() in chain:
        cycle = " -> ".join(file.name for file in (*chain, parent))
        return _nowhere({}), [f"{extends.place}: extends itself: {cycle}"]
    if len(chain) > MOST_FILES:
        deep = f"extends configs over {MOST_FILES} files deep; let one of them hold what they say"
        return _nowhere({}), [f"{extends.place}: {deep}"]
    return _read_chain(parent, chain)


def _near(name: str, folder: Path = Path()) -> str:
    """What may be meant by a config that isn't there: one that lies where it would, else a shipped one."""
    if beside := _beside(Path(name), folder):
        return f"; did you mean '{beside}'?"
    near = difflib.get_close_matches(Path(name).stem[:LONGEST_NAME], shipped_names(), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else "."


def _missing_config(name: str) -> str:
    if beside := _beside(Path(name)):
        return f"{shortened(name)}: no such config; did you mean {beside}?"
    return f"{shortened(name)}: no such config{_near(name)} Shipped with gradclip: {', '.join(shipped_names())}"


def _beside(path: Path, folder: Path = Path()) -> Path | None:
    """The config where a missing one would lie, seen from a folder: one that ends otherwise, else whose name is most like it."""
    try:
        names = sorted(file.name for file in (folder / path).parent.glob("*.y*ml"))
    except (OSError, ValueError):
        return None
    same = [name for name in names if Path(name).stem == path.stem or name == path.stem]
    near = same or difflib.get_close_matches(path.name[:LONGEST_NAME], names, n=1, cutoff=0.75)
    return path.parent / near[0] if near else None


def validated(tree: Tree) -> Config:
    """The config that a complete tree says. Raises ConfigError with every mistake and its place."""
    try:
        config = config_of(tree.plain())
    except ValidationError as error:
        raise ConfigError(described(error, tree)) from None
    if isinstance(config, RecordedConfig):
        return started_beside(config, tree)
    if (layers := config.model.layer_names) is not None:
        _require_layers(config, layers, tree)
    if lacking := FRAMEWORKS[config.engine.framework].lacking(config):
        raise ConfigError([f"{place_of(tree, key)}: {key}: {why}" for key, why in lacking.items()])
    _require_whole_groups(config, tree)
    return placed(config, tree) if isinstance(config, OwnConfig) else config


def _require_whole_groups(config: Config, tree: Tree) -> None:
    """Raises ConfigError where an epoch doesn't end with a recorded step."""
    steps, every = config.training.steps_per_epoch, config.recorded_every
    if steps % every:
        fitting = [each for each in range(1, min(steps, MOST_EVERY) + 1) if not steps % each]
        near = [*fitting[: bisect(fitting, every)][-1:], *fitting[bisect(fitting, every) :][:1]]
        instead = " or ".join(map(str, near))
        message = f"{every} does not divide training.steps_per_epoch ({steps}); write {instead}, or another number of steps"
        raise ConfigError([f"{place_of(tree, 'records.every')}: records.every: {message}"])


def _require_layers(config: Config, layers: Sequence[str], tree: Tree) -> None:
    """Raises ConfigError where a threshold is given for a layer that is not among these."""
    if unknown := [name for name in config.clipping.layer_thresholds if name not in layers]:
        named = tree.value["clipping"].value["layers"].value
        raise ConfigError([unknown_choice("clipping.layers", named[name].key_place, name, layers) for name in unknown])
