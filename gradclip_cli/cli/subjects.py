"""What a command is given to look at: a config, or a model from which one is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradclip_cli.cli.options import (
    Command,
    complete_configs,
    data_directory_option,
    is_set,
    json_option,
    parameters,
    remark,
    settings_option,
)
from gradclip_cli.limits import MOST_SEED

if TYPE_CHECKING:
    from gradclip_cli.config.schema import Config
    from gradclip_cli.experiments.posing import Posed, Wishes


@parameters
class SubjectOptions:
    """What every command takes that looks at one config or model."""

    config: str
    seed: int | None
    settings: Sequence[str]
    data: str | None
    data_dir: Path | None
    as_json: bool

    @property
    def chosen(self) -> Config:
        """What is looked at. Raises as `subject` does."""
        config = subject(self.config, self.settings, self.data)
        return config if self.seed is None else config.with_seed(self.seed)


def subject_options(command: Command) -> Command:
    """CONFIG|MODEL and the options of `SubjectOptions`."""
    data = "With a model: an .npz file, or FILE.py:function.  [default: `load` beside it, or data.npz]"
    for option in (
        json_option,
        data_directory_option,
        click.option("--data", metavar="FILE", help=data),
        settings_option,
        click.option("--seed", type=click.IntRange(min=0, max=MOST_SEED), help="Seed to begin with.  [default: its own]"),
        click.argument("config", metavar="CONFIG|MODEL", shell_complete=complete_configs),
    ):
        command = option(command)
    return command


def subject(name: str, settings: Sequence[str], data: str | None) -> Config:
    """The config that a name means, with overrides; or that of a model, clipped as it was compiled, with what was chosen told.

    Raises ConfigError, and for a model what `posing.pose` does.
    """
    from gradclip_cli.experiments import posing, trial

    if posing.is_config(name):
        return _config(name, settings, data)
    if settings:
        raise click.UsageError("--set changes a config's keys; of a model, say them in its factory, or write a config.")
    posed = posed_with_display(posing.Wishes(name, data))
    return trial.arms(posed, [trial.YOURS], [])[-1]


def _config(name: str, settings: Sequence[str], data: str | None) -> Config:
    from gradclip_cli.cli.planning import say_resets
    from gradclip_cli.config import loading
    from gradclip_cli.config.recorded import require_no_script

    if data:
        raise click.UsageError("--data is a model's; a config says its data itself.")
    loaded = loading.read(name, settings)
    require_no_script(loaded.config, f"Run one seed of it and look at that: gradclip run {name} --seed 0, then gradclip show.")
    say_resets(loaded)
    return loaded.config


def posed_with_display(wishes: Wishes) -> Posed:
    """Pose a problem, showing what is done, and tell what was chosen."""
    from gradclip_cli.cli.displays import StepDisplay
    from gradclip_cli.experiments import posing

    with StepDisplay("looking at the model", None, stage=f"looking at {wishes.model}", quiet=is_set("quiet")) as display:
        posed = posing.pose(wishes, display.doing)
    config = posed.config
    remark(f"{config.model.label} on {config.data.label}, {config.engine.framework}, {config.optimizer.label}.", sentence=True)
    for choice in posed.choices:
        remark(f"  {choice}")
    if posed.yours:
        remark(f"  clipping yours: {', '.join(f'{key} {value}' for key, value in posed.yours.items())}")
    return posed
