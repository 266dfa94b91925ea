"""Problems: what is trained, whatever the arm, behind one contract: data, batches, initial weights, a network a framework."""

from __future__ import annotations

from gradclip_cli.config.article import ArticleConfig
from gradclip_cli.config.own import OwnConfig
from gradclip_cli.config.schema import Config
from gradclip_cli.problems.article import ArticleProblem
from gradclip_cli.problems.contract import Problem


def problem_of(config: Config) -> Problem:
    """The problem that a config poses."""
    if isinstance(config, OwnConfig):
        from gradclip_cli.problems.own import OwnProblem

        return OwnProblem(config)
    assert isinstance(config, ArticleConfig)
    return ArticleProblem(config)
