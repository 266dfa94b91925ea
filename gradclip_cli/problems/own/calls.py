"""A user's own functions, called: arguments checked first, stdout kept clean, its errors told apart from gradclip's."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import io
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from gradclip_cli.config.yaml_tree import shortened
from gradclip_cli.errors import ConfigError, GradclipError, OwnCodeError
from gradclip_cli.problems.own.references import is_installed
from gradclip_cli.texts import with_article

PACKAGE = Path(__file__).parents[2]
COLOURS = re.compile(r"\x1b\[[\d;]*m")
"""What a terminal takes for colours, with which Keras writes its messages."""


def tell_at_once(told: str) -> None:
    """Say something while the user's code runs, where also goes what it prints."""
    print(told, file=sys.stderr)


def call(function: Callable[..., Any], arguments: Mapping[str, Any], what: str, *, quiet: bool = False) -> Any:
    """Call a user's function with arguments by name; what it prints goes to stderr, or nowhere.

    Messages begin with `what`. Raises ConfigError where the arguments don't fit its signature, OwnCodeError where it raises.
    """
    if problems := _unfit(function, arguments):
        raise ConfigError([f"{what}: {problem}" for problem in problems])
    with own_code_runs(what, "it", quiet=quiet):
        return function(**arguments)


def _unfit(function: Callable[..., Any], arguments: Mapping[str, Any]) -> list[str]:
    """What is wrong with arguments given by name; nothing where a function has no signature to be known by."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return []
    parameters = signature.parameters.values()
    by_name = [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    needed = [name for name in by_name if signature.parameters[name].default is inspect.Parameter.empty]
    problems = [_unknown(name, by_name) for name in arguments if name not in by_name and not takes_any]
    problems += [f"needs an argument '{name}': write it under args" for name in needed if name not in arguments]
    if not problems:
        try:
            signature.bind(**arguments)
        except TypeError as error:
            return [f"{error}; arguments are given by name"]
    return problems


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"it takes {', '.join(known) or 'none'}"
    return f"unknown argument '{shortened(str(name))}'; {hint}"


@contextlib.contextmanager
def own_code_runs(what: str, doing: str, *, quiet: bool = False) -> Iterator[None]:
    """Run the user's code: stdout is stderr meanwhile, or nothing; and what it raises becomes an OwnCodeError; ours pass."""
    try:
        with contextlib.redirect_stdout(io.StringIO() if quiet else sys.stderr):
            yield
    except SystemExit as ended:
        hint = "leave that to a script's if __name__ == '__main__':"
        raise OwnCodeError(
            f"{what}: {doing} would have ended the process, sys.exit({ended.code!r}); {hint}", _shown(ended)
        ) from ended
    except GradclipError:
        raise
    except Exception as error:
        raise OwnCodeError(f"{what}: {doing} raised {type(error).__qualname__}", _shown(error)) from error


def _shown(error: BaseException) -> str:
    """The traceback of what the user's code raised, from the first frame that isn't ours."""
    shown = "".join(traceback.format_exception(type(error), error, _own_frames(error.__traceback__))).rstrip()
    return COLOURS.sub("", shown)


def _own_frames(frames: TracebackType | None) -> TracebackType | None:
    """The frames from the first that is the user's own; where there is none, from the first that isn't ours."""
    while frames and _is_passed_through(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    own = frames
    while own and is_installed(Path(own.tb_frame.f_code.co_filename)):
        own = own.tb_next
    return own or frames


def _is_passed_through(file: str) -> bool:
    """Whether a file's frames stand in a traceback before the user's own."""
    importing = file in (contextlib.__file__, importlib.__file__) or file.startswith("<frozen importlib")
    return importing or PACKAGE in Path(file).parents


def returned(what: str, value: Any, needed: str) -> OwnCodeError:
    """The error of a function that returned something else than what was needed, such as "a model"."""
    return OwnCodeError(f"{what}: it returned {described(value)} where {needed} was needed")


def described(value: Any) -> str:
    """What a value is, in a few words."""
    kind = type(value).__name__
    if value is None:
        return "None (is a `return` missing?)"
    if inspect.isclass(value) or inspect.isroutine(value):
        return f"the {'class' if inspect.isclass(value) else 'function'} {value.__name__} (did you forget to call it?)"
    if inspect.iscoroutine(value):
        return "a coroutine (write def, not async def)"
    if isinstance(value, bool | int | float | complex | str | bytes):
        return f"{shortened(repr(value))}, {with_article(kind)}"
    if shape := getattr(value, "shape", None):
        return f"{with_article(kind)} of shape {shape}"
    if isinstance(value, tuple | list | dict | set | frozenset):
        return f"{with_article(kind)} of {len(value)}"
    return with_article(kind)
