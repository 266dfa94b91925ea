"""An option that a command doesn't have is answered with what its user may have meant."""

from __future__ import annotations

import pytest
from conftest import call


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["run", "none", "--epochs", "3"], "--set training.epochs=3"),
        (["run", "none", "--epochs=3"], "--set training.epochs=3"),
        (["run", "none", "--lr", "0.1"], "--set optimizer.learning_rate=0.1"),
        (["run", "none", "--learning-rate", "0.1"], "--set optimizer.learning_rate=0.1"),
        (["run", "none", "--batch-size", "64"], "--set data.batch_size=64"),
        (["suggest", "none", "--units", "5"], "--set model.units=5"),
        (["suggest", "none", "--seeds", "3"], "--seed"),
        (["reproduce", "--seed", "3"], "--seeds"),
    ],
)
def test_an_option_that_is_a_key_of_a_config_is_hinted_at(arguments: list[str], hint: str) -> None:
    ended = call(*arguments)
    assert ended.exit_code == 2
    assert hint in ended.output
