"""Which kind of config some keys are: the article's, a problem of the user's own, or a run that another loop trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradclip_cli.config.article import ArticleConfig
from gradclip_cli.config.own import OwnConfig
from gradclip_cli.config.recorded import RecordedConfig
from gradclip_cli.config.schema import Config

OWN_MODELS = {"factory", "file"}
"""Keys of `model` that say where a model of the user's own comes from."""


RECORDED_ONLY = {"kind", "command"}
"""Keys that only a config of a recorded run has."""


def config_class(keys: Mapping[str, Any]) -> type[Config]:
    """The kind of config that has such keys."""
    if RECORDED_ONLY & keys.keys():
        return RecordedConfig
    model = keys.get("model")
    own = isinstance(model, Mapping) and bool(OWN_MODELS & model.keys())
    return OwnConfig if own else ArticleConfig


def config_of(keys: Mapping[str, Any]) -> Config:
    """The config that these keys say. Raises pydantic's ValidationError."""
    return config_class(keys).model_validate(keys)
