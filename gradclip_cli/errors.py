"""The error family: what gradclip raises on purpose, the exit code of each, and the list of all exit codes."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from gradclip_cli.texts import for_terminal


class ExitCode(IntEnum):
    """How a command ended, for whoever called it; what a signal ended has the code that a shell gives it."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> ExitCode:
        """A code with what it means."""
        member = int.__new__(cls, code)
        member._value_, member.meaning = code, meaning
        return member

    DONE = 0, "done"
    FAILED = 1, "failed"
    MISTAKEN = 2, "a mistake in the command or a config"
    DIVERGED = 3, "`run` finished, but a run diverged"
    CONDITION = 4, "`compare` finished, but a condition of `--fail-if` holds"
    INTERRUPTED = 128 + signal.SIGINT, "interrupted with Ctrl-C"
    TERMINATED = 128 + signal.SIGTERM, "interrupted with SIGTERM"
    DESERTED = 141, "whoever read stdout has gone, as `head` does"  # SIGPIPE's, which not every system has


class GradclipError(Exception):
    """A failure that gradclip can explain. The message says what was wrong, where, and what to do next."""

    exit_code = ExitCode.FAILED
    kind = "failed"
    """What a program that reads the JSON of an error can tell it by."""
    facts: Mapping[str, Any] = {}
    """What the JSON of an error tells besides: results so far."""


class ConfigError(GradclipError):
    """One or more mistakes in a config, an override or a seed list; `problems` holds one line each, whatever it quotes."""

    exit_code = ExitCode.MISTAKEN
    kind = "config"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(map(for_terminal, problems))
        super().__init__("\n".join(self.problems))


class DatasetError(GradclipError):
    """The dataset can't be found, fetched or trusted."""

    kind = "dataset"


class StoreError(GradclipError):
    """A results directory can't be read or written: `what` says where and why, `hint` what the user may do about it."""

    kind = "store"

    def __init__(self, what: str, hint: str = "") -> None:
        self.what, self.hint = what, hint
        super().__init__(f"{what}; {hint}" if hint else what)


class NewerSchemaError(StoreError):
    """A file was written by a newer gradclip than this one."""


class ConflictError(StoreError):
    """A run directory belongs to another config, or holds what is not gradclip's."""


class ConflictsError(ConflictError):
    """Planned runs can't be trained: `conflicts` holds what stands in each one's way."""

    def __init__(self, conflicts: Sequence[StoreError]) -> None:
        self.conflicts = tuple(conflicts)
        super().__init__("\n".join(map(str, conflicts)))

    def in_short(self, instead: str) -> ConflictError:
        """The first of them and how many more there are, with what to do, in sentences."""
        first, *others = self.conflicts
        and_more = f", and {len(others)} more" if others else ""
        return ConflictError(f"{first.what}{and_more}. {instead}")


class BusyError(ConflictError):
    """Another process is training this run."""

    kind = "conflict"


class ReportError(GradclipError):
    """Stored runs can't answer what was asked of them."""

    kind = "report"


class ConditionError(GradclipError):
    """A condition of `--fail-if` can't be judged by these runs; `facts` are what was found until then."""

    exit_code = ExitCode.MISTAKEN
    kind = "condition"

    def __init__(self, message: str, facts: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.facts = facts
        super().__init__(message)


class ExportError(GradclipError):
    """Stored runs can't be written where, or as what, was asked: something is in the way, or a package is missing."""

    kind = "export"


class EngineError(GradclipError):
    """An engine is missing, or this process can't run it as configured."""

    kind = "engine"


class OwnCodeError(GradclipError):
    """A function of the user's own raised, or returned what it shouldn't: `what` says which and how, `shown` is its traceback."""

    kind = "own_code"

    def __init__(self, what: str, shown: str = "") -> None:
        self.what, self.shown = what, shown
        super().__init__(f"{what}\n{shown}" if shown else what)


class ClusterError(GradclipError):
    """A Dask cluster can't be reached, or can't train what this gradclip asks of it."""

    kind = "cluster"
