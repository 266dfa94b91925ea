"""Problems: what is trained, whatever the arm, behind one contract: data, batches, initial weights, a network a framework."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gradclip_cli.config.own import OwnConfig
from gradclip_cli.config.recorded import RecordedConfig
from gradclip_cli.config.schema import Config
from gradclip_cli.problems.article import article_problem
from gradclip_cli.problems.contract import Problem


def identified(config: Config) -> Config:
    """The config as its runs store it: with the hashes of a user's own code, which is read and not run.

    Raises ConfigError and OwnCodeError where that code is not there, or is no Python.
    """
    if isinstance(config, OwnConfig):
        from gradclip_cli.problems.own.identity import identified as with_hashes

        return with_hashes(config)
    if isinstance(config, RecordedConfig):
        from gradclip_cli.problems.scripts import identified as with_sources

        return with_sources(config)
    return config


def packed(config: Config) -> Mapping[str, bytes]:
    """The files that a config's problem needs on another machine, by path. Raises ConfigError where they can't travel."""
    if isinstance(config, OwnConfig):
        from gradclip_cli.problems.own.luggage import packed as own_files

        return own_files(config)
    return {}


def unpacked(config: Config, files: Mapping[str, bytes], below: Path) -> Config:
    """The config where `packed` files were unpacked, in a folder below `below`; its code must be what the config names.

    Raises ConfigError where it is not.
    """
    if isinstance(config, OwnConfig):
        from gradclip_cli.problems.own.luggage import unpacked as with_own_files

        return identified(with_own_files(config, files, below))
    return config


def problem_of(config: Config) -> Problem:
    """The problem that a config poses."""
    if isinstance(config, OwnConfig):
        from gradclip_cli.problems.own.problem import OwnProblem

        return OwnProblem(config)
    return article_problem(config)
