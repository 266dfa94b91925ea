"""What a user may have meant by an option that a command doesn't have: a key of a config, or the other way to say seeds."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import click

SHORT_FORMS = {"lr": "learning_rate", "rate": "learning_rate", "batch": "batch_size", "optim": "optimizer", "clip": "clipping"}
CHOICES = {"optimizer": "optimizer.name", "clipping": "clipping.mode", "model": "model.cell", "loss": "loss.name"}
SEEDS = {
    "suggest": "a pilot has one seed: --seed N",
    "sweep": "a sweep's seeds stand in its file, as seeds: 5",
    "reproduce": "it compares runs over several seeds: --seeds 10 trains the first ten, --seeds 3-4 those two",
}


def hint(error: click.NoSuchOption, given: Sequence[str]) -> str:
    """A sentence to add to the error; empty where nothing comes near."""
    command = error.ctx.command if error.ctx else None
    word = error.option_name.lstrip("-").partition("=")[0].replace("-", "_").lower()
    if command is None or not error.option_name.startswith("--"):
        return ""
    if word in ("seed", "seeds"):
        return f" Here {SEEDS[command.name]}." if command.name in SEEDS else ""
    if all(parameter.name != "settings" for parameter in command.params):
        return ""
    key = _key(word)
    return f" To override a config's key: --set {key}={_value(error.option_name, given) or 'VALUE'}" if key else ""


def _key(word: str) -> str | None:
    """The key that a word means; where several sections have it, the first."""
    from gradclip_cli.config import loading

    word = SHORT_FORMS.get(word, word)
    if word in CHOICES:
        return CHOICES[word]
    keys: dict[str, str] = {}
    for key in loading.known_keys():
        keys.setdefault(key.rpartition(".")[2], key)
        keys.setdefault(key.replace(".", "_"), key)
    near = difflib.get_close_matches(word, keys, n=1, cutoff=0.8)
    return keys[near[0]] if near else None


def _value(option: str, given: Sequence[str]) -> str | None:
    """What was given for an option: --epochs 3, or --epochs=3."""
    for index, argument in enumerate(given):
        name, equals, value = argument.partition("=")
        if name == option.partition("=")[0]:
            following = given[index + 1] if index + 1 < len(given) else ""
            return value if equals else None if following.startswith("--") else following or None
    return None
