"""The configs that a trial leaves are written as somebody would write them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gradclip_cli.config.own import OwnConfig, OwnData, OwnModel, Records
from gradclip_cli.experiments.trial import write_configs


@pytest.mark.parametrize(("every", "said"), [(1, None), (5, {"every": 5})])
def test_a_config_says_what_is_recorded_where_that_is_not_each_step(every: int, said: object, tmp_path: Path) -> None:
    """One that an earlier gradclip wrote, which had no such key, is then still the same file."""
    data, model = OwnData(npz="x.npz"), OwnModel(factory="model.py:build")
    [path] = write_configs([OwnConfig(name="arm", data=data, model=model, records=Records(every=every))], tmp_path)
    assert yaml.safe_load(path.read_text()).get("records") == said
