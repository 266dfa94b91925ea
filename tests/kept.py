"""Folders as gradclip's commands leave them, of made-up runs: a sweep's, a study's, a try's, and a recorded run's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from conftest import store_run
from matplotlib.figure import Figure
from PIL import Image
from recordings import SEEN, records

from gradclip_cli.config import loading, studies, sweeps
from gradclip_cli.config.article import ArticleConfig
from gradclip_cli.config.schema import Config
from gradclip_cli.evidence.metrics import DEFAULT_METRIC
from gradclip_cli.experiments import study, study_report, sweep, sweep_report, trial
from gradclip_cli.pages.pictures import Picture, panel_pictures
from gradclip_cli.plots import Panel
from gradclip_cli.recorder.places import Place
from gradclip_cli.recorder.recording import Recording
from gradclip_cli.runs.store import RunDirectory

HOSTILE = "<img src=x onerror=alert(1)>"
SWEEP = """
base: {extends: none, data: {holdout: 10000}, training: {epochs: 3, steps_per_epoch: 4}}
grid: {clipping: [{mode: none}, {mode: clipnorm, threshold: 1}], optimizer.learning_rate: [0.1, 1, 10]}
seeds: 2
fresh_seeds: 7
"""
THREE_AXES = """
base: {extends: none, training: {epochs: 3, steps_per_epoch: 4}}
grid: {model.units: [5, 10], optimizer.learning_rate: [0.1, 1], clipping: [{mode: none}, {mode: clipnorm, threshold: 1}]}
seeds: 2
"""
STUDY = f"""
name: made
question: "Does clipping {HOSTILE} help?"
seen: Nothing.
power: Little.
seeds: 0-11
success: val_accuracy >= 0.6
matrix:
  family: help
  baseline: none
  rules: {{none: {{mode: none}}, clipnorm: {{mode: clipnorm, threshold: 1}}, agc: {{mode: agc}}}}
  problems:
    helped: {{config: none, metric: val_accuracy, about: made to be helped}}
    idle: {{config: none, metric: val_accuracy, rules: [none, clipnorm]}}
arms: {{none: none, clipvalue: clipvalue}}
tests: [{{family: beside, metric: loss, baseline: none, arms: [clipvalue]}}]
rules: {{help: The test says so., beside: Description.}}
"""
ENDS = {"helped.none": 1.2, "helped.clipnorm": 0.5, "helped.agc": 1.25, "idle.none": 0.5, "idle.clipnorm": 0.5}


def draw_nothing(figure: object, file: BinaryIO, dots_per_inch: float) -> None:
    """In place of `plots.save_to`, where a test looks at no picture: rendering takes most of a page's time."""
    Image.new("RGB", (1, 1)).save(file, "PNG")


def draw_blank(figure: Figure, file: BinaryIO, dots_per_inch: int) -> None:
    """The same where the room that a picture takes counts: an empty one of its size."""
    width, height = (int(dots_per_inch * inches) for inches in figure.get_size_inches())
    Image.new("RGB", (width, height), "white").save(file, "PNG")


def drawing_once() -> Callable[[Sequence[Panel]], list[Picture]]:
    """In place of a page's `panel_pictures`, for several pages of one comparison: they share its pictures."""
    pictures: list[Picture] = []

    def drawn(panels: Sequence[Panel]) -> list[Picture]:
        pictures[:] = pictures or panel_pictures(panels)
        return pictures

    return drawn


def keep_sweep(folder: Path, text: str = SWEEP) -> Path:
    """A reported sweep; the last rate's unclipped runs diverge, and clipping helps at the best rate."""
    path = folder.parent / f"{folder.name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    loaded = sweeps.load(str(path))
    sweep.record_plan(loaded, folder)
    split = "holdout" if loaded.fresh_seeds else "test"
    for number, cell in enumerate(loaded.cells):
        diverges = cell.config.clipping.mode == "none" and cell.config.optimizer.learning_rate == 10
        how = {"status": "diverged"} if diverges else {}
        for seed in loaded.seeds:
            losses = [2.0] if diverges else [2.0, 1.5, 1.0 - 0.02 * number + 0.001 * seed]
            store_run(folder, cell.config.name, seed, losses, evaluation_split=split, settings=_said(cell.config), **how)
    result = sweep.read(loaded, folder)
    for number, config in enumerate(sweep.best_configs(result)):
        for seed in loaded.fresh_seeds:
            last = 1.0 - 0.2 * number + 0.01 * (seed % 3)
            store_run(folder / "best", config.name, seed, [2.0, 1.5, last], settings=_said(config))
    (folder / "sweep.json").write_text(sweep_report.to_json(sweep.compare_best(result, folder)))
    return folder


def keep_study(folder: Path, text: str = STUDY) -> Path:
    """A reported study: on one problem clipnorm helps on every seed, on the other it never acts."""
    path = folder.parent / f"{folder.name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    loaded = studies.load(str(path))
    study.record_plan(loaded, folder)
    health = {"word": "spiking", "spikes": 3, "first_spike": None, "first_explosion": None}
    for arm in loaded.arms:
        [config] = arm.configs
        share = 0.25 if arm.name in ("helped.clipnorm", "helped.agc", "clipvalue") else 0.0
        for seed in arm.seeds:
            last = ENDS.get(arm.name, 1.0) + 0.01 * seed
            more = {"settings": _said(config), "clipped_fraction": share, "health": health}
            store_run(folder, arm.name, seed, [2.0, last, last], **more)
    (folder / "study.json").write_text(study_report.to_json(study.read(loaded, folder)))
    return folder


def _said(config: Config) -> list[str]:
    """What tells the config of a stored run from a shipped one's."""
    keys = {"optimizer.learning_rate": config.optimizer.learning_rate, "data.holdout": config.data.holdout}
    units = [f"model.units={config.model.units}"] if isinstance(config, ArticleConfig) else []
    rule = f"clipping={json.dumps(config.clipping.model_dump())}"
    return [rule, *(f"{key}={value}" for key, value in keys.items()), *units]


def keep_try(folder: Path) -> Path:
    """A try's runs with its plan: clipnorm at 1 helps on every seed, clipvalue changes nothing."""
    clipped = {mode: [f"clipping={{mode: {mode}, threshold: 1}}"] for mode in ("clipvalue", "clipnorm")}
    arms = {"none": [], **{f"{mode}-1.0": settings for mode, settings in clipped.items()}}
    configs = [loading.load("none", settings).model_copy(update={"name": name}) for name, settings in arms.items()]
    seeds = trial.fresh_seeds(8)
    trial.record_plan(configs, seeds, folder, DEFAULT_METRIC)
    for name, settings in arms.items():
        for seed in seeds:
            store_run(folder, name, seed, [2.0, 1.5, (0.6 if name == "clipnorm-1.0" else 1.2) + 0.01 * seed], settings=settings)
    return folder


def keep_recording(folder: Path) -> RunDirectory:
    """A run that its own loop trained, of which little is known."""
    recording = Recording(Place(folder))
    recording.begin(SEEN)
    for number in (1, 2):
        recording.steps = 4 * number
        recording.add(records())
        recording.end_epoch({"loss": 2.0 / number})
    recording.finish()
    return RunDirectory.at(folder)
