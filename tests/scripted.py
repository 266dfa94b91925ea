"""Scripts that train nothing: one drives a recorder with made-up figures, others are a line of a shell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from recordings import SEEN, records

from gradclip_cli.config import loading
from gradclip_cli.config.recorded import RecordedConfig
from gradclip_cli.recorder.places import Place
from gradclip_cli.recorder.recording import Recording
from gradclip_cli.recorder.seen import Seen
from gradclip_cli.runs.one import Workshop
from gradclip_cli.runs.store import RUN_VARIABLE, RunDirectory
from gradclip_cli.runs.trainers import Ending, Event, Task

TRAINING = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from gradclip_cli.recorder.places import Place
from gradclip_cli.recorder.recording import Recording
from recordings import SEEN, records

seed, clip = int(sys.argv[1]), float(sys.argv[2])
print("seed", seed, "clip", clip)
recording = Recording(Place("elsewhere/seed-99"))
recording.begin(SEEN)
for epoch in (1, 2):
    recording.steps = 4 * epoch
    recording.add(records())
    recording.end_epoch({{"loss": 1 / epoch, "accuracy": 0.5 + seed / 100 + clip / 10}})
recording.finish()
"""
"""A script that records two epochs of four steps; it takes its seed and a number `clip`, and says another folder than it gets."""


def write_training(folder: Path, *names: str) -> list[str]:
    """A config of each name, with the script beside it, whose clip is its place among them; their paths."""
    (folder / "train.py").write_text(TRAINING)
    for number, name in enumerate(names, 1):
        text = f'command: [python, train.py, "{{seed}}", "{{clip}}"]\nvalues: {{clip: {number}.0}}\n'
        (folder / f"{name}.yaml").write_text(text)
    return [str(folder / f"{name}.yaml") for name in names]


def in_shell(folder: Path, line: str, name: str = "mine") -> RecordedConfig:
    """The config of a line of a shell; braces stand for themselves."""
    command = ["sh", "-c", line.replace("{", "{{").replace("}", "}}"), "{seed}"]
    path = folder / f"{name}.yaml"
    path.write_text(f"command: {json.dumps(command)}\n")
    config = loading.load(str(path))
    assert isinstance(config, RecordedConfig)
    return config


def train(
    config: RecordedConfig,
    results: Path,
    report: Callable[[Event], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[Ending, RunDirectory]:
    """A run of a script, trained in this process as a worker would."""
    directory = RunDirectory.of(results, config.name, config.training.seed)
    return Workshop().train(Task.of(config, directory), report, should_stop), directory


def store(config: RecordedConfig, results: Path, accuracy: float = 0.5, seen: Seen = SEEN) -> RunDirectory:
    """A script's run as it is after its recorder has written two epochs, without a process."""
    directory = RunDirectory.of(results, config.name, config.training.seed)
    with directory.locked(), pytest.MonkeyPatch.context() as patched:
        patched.setenv(RUN_VARIABLE, str(directory.path))
        directory.start_recording(config, {})
        recording = Recording(Place(None))
        recording.begin(seen)
        for epoch in (1, 2):
            recording.steps = 4 * epoch
            recording.add(records())
            recording.end_epoch({"loss": 1 / epoch, "accuracy": accuracy})
        recording.finish()
    return directory
