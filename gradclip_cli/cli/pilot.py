"""The command that trains a short pilot: suggest."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from gradclip_cli.cli.options import is_set, parameters, print_json, remark, takes
from gradclip_cli.cli.subjects import SubjectOptions, subject_options
from gradclip_cli.texts import counted

if TYPE_CHECKING:
    from gradclip_cli.config.schema import Config
    from gradclip_cli.experiments.suggest import Pilot


@parameters
class SuggestOptions(SubjectOptions):
    """What `suggest` takes."""

    steps: int


@click.command()
@click.option("--steps", type=click.IntRange(min=1), default=500, show_default=True, help="Length of the pilot.")
@subject_options
@takes(SuggestOptions)
def suggest(options: SuggestOptions) -> None:
    """Suggest thresholds to try, from the gradients of a short unclipped pilot on a config's model and data.

    MODEL is FILE.py:function, package.module:function or a saved FILE.keras. First what its own clipping would have done, if
    it clips. Then for each rule: the YAML to paste, on what share of the pilot's steps it would have acted, and why. Nothing is
    stored.
    """
    chosen = options.chosen

    from gradclip_cli.cli.console import note
    from gradclip_cli.experiments import suggest as experiment

    if chosen.clipping.mode != "none":
        note(f"The pilot runs without clipping; {chosen.clipping.label} in {options.config} is judged by it.")
    pilot = _pilot(chosen, options)
    if options.as_json:
        print_json(experiment.to_dict(pilot))
    else:
        print_pilot(pilot)
        if pilot.sane_steps and not options.settings:
            data = f" --data {shlex.quote(options.data)}" if options.data else ""
            remark(f"whether one helps, trained over seeds: gradclip try {shlex.quote(options.config)}{data}")


def _pilot(chosen: Config, options: SuggestOptions) -> Pilot:
    from gradclip_cli.cli.displays import DownloadDisplay, StepDisplay
    from gradclip_cli.experiments import suggest as experiment

    stage = f"pilot: {counted(options.steps, 'unclipped step')}"
    with StepDisplay("pilot", options.steps, stage=stage, quiet=is_set("quiet")) as display:
        return experiment.pilot(
            chosen,
            options.steps,
            data_directory=options.data_dir,
            download_progress=DownloadDisplay(),
            report=display.update,
            preparing=display.doing,
        )


def print_pilot(pilot: Pilot, *, suggesting: bool = True) -> None:
    """Print what a pilot was, its norms, what the config's own clipping would have done, and, where `suggesting`, what to try."""
    from gradclip_cli.cli.console import print_table, tell
    from gradclip_cli.cli.layout import Table
    from gradclip_cli.experiments import suggest as experiment

    for line in experiment.sentences(pilot):
        tell(line, sentence=True)
    if not pilot.sane_steps:
        return
    headings, rows = experiment.distribution(pilot)
    tell()
    print_table(Table(headings, rows, primary=[headings[0], "50%", "90%", "largest"]), elsewhere="suggest --json")
    if own := experiment.judgement(pilot):
        tell()
        tell(own.message, sentence=True)
    if not suggesting:
        return
    if found := [[each.yaml, f"{each.clipped_share:.0%}", each.reason] for each in experiment.suggestions(pilot)]:
        tell()
        headings = ["to try", "acts on", "because"]
        print_table(Table(headings, found, primary=headings, texts=["because"]))
