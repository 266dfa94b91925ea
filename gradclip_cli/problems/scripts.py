"""What a script is by its code: the hashes of the files that its command names, which belong to its config; nothing is run."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from gradclip_cli.config.commands import SEED, placeholders
from gradclip_cli.config.recorded import PYTHON, RecordedConfig
from gradclip_cli.errors import ConfigError, OwnCodeError
from gradclip_cli.problems.own.references import Reference, absolute, is_installed, locate
from gradclip_cli.problems.own.sources import sources_sha256


def identified(config: RecordedConfig) -> RecordedConfig:
    """The config with the hashes of the files that its command names as they are now, by the words that name them.

    A Python file's has those of what it imports beside it. Words with the seed in them name a run's own files: they are left out.
    Raises ConfigError where the program or the script is missing, or where the config names other sources than those there.
    """
    if config.command is None:
        return config
    folder = Path(config.folder)
    _require_program(config.words, folder)
    of_all_runs = ["" if SEED in placeholders(said) else word for said, word in zip(config.command, config.words, strict=True)]
    now = dict(_hashes(of_all_runs, folder))
    if config.sources and config.sources != now:
        changed = sorted({name for name, _ in config.sources.items() ^ now.items()})
        raise ConfigError([f"sources: {', '.join(changed)} in {folder}: not what this config names, or changed since"])
    return config.model_copy(update={"sources": now})


def _require_program(words: Sequence[str], folder: Path) -> None:
    """Raises ConfigError where what is to be started isn't there, or Python's script."""
    program = words[0]
    if program == PYTHON:
        if words[1:] and words[1].endswith(".py") and not (folder / words[1]).is_file():
            raise ConfigError([f"command: there is no script {words[1]} in {folder}"])
    elif not shutil.which(str(folder / program) if "/" in program else program):
        raise ConfigError([f"command: there is no program {program} to start; {_instead(program, folder)}"])


def _instead(program: str, folder: Path) -> str:
    if not (folder / program).is_file():
        return f"paths are relative to {folder}" if "/" in program else "none on the PATH is called so"
    return f"{folder / program} is not executable" if "/" in program else f"write ./{program} for the file beside the config"


def _hashes(words: Sequence[str], folder: Path) -> Iterator[tuple[str, str]]:
    """SHA-256 by the words, or what follows `=` in one, that are paths of files, relative to the config's folder."""
    first, *others = words
    modules = [after for before, after in zip(words, others, strict=False) if before == "-m" and first == PYTHON]
    yield from ((name, found) for name in modules[:1] if (found := _of_python(name, folder)))
    candidates = [first] if "/" in first else []
    candidates += [part for word in others for part in (word, word.partition("=")[2])]
    for name in dict.fromkeys(candidates):
        if name and not Path(name).is_absolute() and (folder / name).is_file():
            yield name, (_of_python(name, folder) if name.endswith(".py") else None) or _of_file(absolute(folder / name))


def _of_python(name: str, folder: Path) -> str | None:
    """The hash of a Python file, or of a module beside the config, and of what it imports; None of what is none of the user's."""
    reference = Reference(name, "")
    try:
        return None if is_installed(locate(reference, folder).path) else sources_sha256(reference, folder)
    except (ConfigError, OwnCodeError):
        return None  # a program of Python's own, or another Python's syntax


def _of_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
