"""One stored run in a few facts: how it ended, what it trained and with what, and, of a recorded one, what nobody knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradclip_cli.config.recorded import UNKNOWN, RecordedConfig
from gradclip_cli.config.schema import Config
from gradclip_cli.runs.metadata import is_evaluated, recorded_every


def facts(metadata: Mapping[str, Any], config: Config) -> dict[str, str]:
    """By subject, what `run.json` and the config say of a run, finished or not."""
    trained = f"by {config.engine.framework}, {metadata.get('steps', '?')} steps, started {metadata.get('started')}"
    found = {
        "model": f"{config.model.label}, {config.optimizer.label}, clipping {config.clipping.label}",
        "trained": f"{trained}, {metadata.get('seconds', '?')} s",
    }
    if (every := recorded_every(metadata)) > 1:
        found["recorded"] = f"one step in {every}; what is said of gradients is of these"
    if metadata.get("evaluation_split"):
        found["evaluated"] = f"on the {metadata['evaluation_split']} split of {config.data.label}"
    if metadata.get("diverged"):
        found["diverged"] = metadata["diverged"]["told"]
    overflows = metadata.get("overflows") or {}
    if overflows.get("steps"):
        found["overflows"] = f"{overflows['steps']} steps with a gradient that was not finite, first {overflows['first']}"
    if metadata.get("reason"):
        found["reason"] = metadata["reason"]
    return found


def unknown(metadata: Mapping[str, Any], config: Config) -> list[str]:
    """What is not known of a run that its own loop trained, in sentences; nothing of one that gradclip trained."""
    if not metadata.get("recorded") or not isinstance(config, RecordedConfig):
        return []
    missing = {
        "What model it was.": config.model.name is None,
        "How many parameters the model has.": config.model.parameters is None,
        "Which loss was minimized, and so what its loss is measured in.": config.loss.name is None,
        "Which optimizer trained it.": config.optimizer.name == UNKNOWN,
        "The learning rate: the optimizer names none, as with a schedule.": config.optimizer.learning_rate is None,
        "Which rule clipped, or whether one did: only what the loop left of its gradients was seen.": config.clipping.mode
        == UNKNOWN,
        "Its seed: nobody named one, so its number only tells it from other runs and pairs it with none.": metadata.get(
            "seed_named"
        )
        is False,
        "How it does on samples that it was not trained on: nothing else was evaluated.": not is_evaluated(metadata),
        "What guessing would score, so that no loss is capped at it.": not metadata.get("chance"),
        "Its data: a recorder sees gradients and what the loop tells it, and no sample.": not metadata.get("dataset_sha256"),
    }
    return [sentence for sentence, is_missing in missing.items() if is_missing]
