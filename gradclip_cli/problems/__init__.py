"""Problems: what is trained, whatever the arm, behind one contract: data, batches, initial weights, a network a framework."""

from __future__ import annotations

from gradclip_cli.config.own import OwnConfig
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
    return config


def problem_of(config: Config) -> Problem:
    """The problem that a config poses."""
    if isinstance(config, OwnConfig):
        from gradclip_cli.problems.own.problem import OwnProblem

        return OwnProblem(config)
    return article_problem(config)
