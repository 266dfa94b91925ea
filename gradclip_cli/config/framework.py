"""What a framework is known by, wherever it need not be imported: title, packages, files, pace, what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Framework(NamedTuple):
    """One framework. Its name is that of its file, here and in `engines/`, and what `engine.framework` calls it."""

    title: str
    """With the interface that is used of it, as reports write it."""
    short_title: str
    choice: str
    """Its name, and what there is to know before choosing it."""
    package: str
    """What is imported of it."""
    distributions: tuple[str, ...]
    """Whose versions a result may depend on."""
    installation: str
    """The command that installs it."""
    model_file: str
    """The file of a saved model, in its own format."""
    usual_pace: Mapping[str, float]
    """Seconds of each part of a `runs.pace.Pace`, where none was measured."""
    usual_memory: int = 1_000_000_000
    """Bytes of a process that trains a small model with it, at its peak."""
    settings: tuple[str, ...] = ()
    """Keys of `engine` that belong to it."""
    instead: Mapping[str, str] = MappingProxyType({})
    """What it does where others have a key of `engine`, as a clause for the message that refuses the key."""
    spared: tuple[str, ...] = ()
    """Packages that it imports where they are installed, for parts of it that nothing of gradclip uses."""
    apart: tuple[str, ...] = ()
    """Packages that it imports, where they are installed, whose libraries don't bear those of other frameworks."""
    keeps_compiled: bool = False
    """Whether what it compiles can be kept for later processes, by `engines.compiled`."""
    imported_as: tuple[str, ...] = ()
    """The packages by which a user's file says that its models are of this framework."""
    clipping_line: Callable[[Any], str | None] = lambda config: None
    """From a `Config`: the line of a user's own code that clips as the config does; None where the framework has none."""
    lacking: Callable[[Any], Mapping[str, str]] = lambda config: {}
    """From a `Config`: dotted keys whose values it can't do, each with the reason and its counterpart."""
