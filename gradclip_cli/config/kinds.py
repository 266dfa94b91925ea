"""Which kind of config some keys are: the article's, or a problem of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradclip_cli.config.article import ArticleConfig
from gradclip_cli.config.own import OwnConfig
from gradclip_cli.config.schema import Config

OWN_MODELS = {"factory", "file"}
"""Keys of `model` that say where a model of the user's own comes from."""


def config_class(model: object) -> type[Config]:
    """The kind of config that has such a `model`, given as a mapping."""
    own = isinstance(model, Mapping) and bool(OWN_MODELS & model.keys())
    return OwnConfig if own else ArticleConfig


def config_of(keys: Mapping[str, Any]) -> Config:
    """The config that these keys say. Raises pydantic's ValidationError."""
    return config_class(keys.get("model")).model_validate(keys)
