"""The mistakes of a config: all at once, each with its place and what to do."""

from __future__ import annotations

import time

import pytest
from conftest import Writer, mistakes

from gradclip_cli.limits import MOST_STEPS


def test_all_mistakes_at_once_with_places_and_suggestions(write_config: Writer) -> None:
    path = write_config(
        "extends: none\n"
        "optimizer: {name: adam, learnig_rate: 0.1, clipvlaue: 3}\n"
        "training: {epochs: true}\n"
        "modle: {}\n"
        "clipping: {mode: clipvalue}\n"
    )
    told = mistakes(path)
    text = "\n".join(told)
    for expected in (
        f"{path}:2:25: unknown key 'learnig_rate' in optimizer; did you mean 'learning_rate'?",
        f"{path}:2:44: unknown key 'clipvlaue' in optimizer; did you mean 'clipvalue'?",
        f"{path}:3:20: training.epochs: ",
        f"{path}:4:1: unknown key 'modle' in the config; did you mean 'model'?",
        f"{path}:5:1: missing key 'threshold' in clipping",
    ):
        assert expected in text


def test_mistake_in_a_parent_names_the_parent(write_config: Writer) -> None:
    parent = write_config("training: {epochs: 0}", "parent.yaml")
    child = write_config("extends: parent.yaml", "child.yaml")
    assert mistakes(child) == [f"{parent}:1:20: training.epochs: input should be greater than or equal to 1, not 0"]


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ("clipping: clipnorm", "write clipping: {mode: clipnorm}"),
        ("clipping: {mode: clip_norm, threshold: 1}", "did you mean 'clipnorm'?"),
        ("clipping: 3", "clipping holds keys, not 3"),
        ("clipping:", "clipping holds keys, not null"),
        ("clipping: [{mode: none}]", "clipping holds keys, not"),
        ("clipping: {mode: [a]}", "clipping.mode can't be"),
        ("clipping: {mode: {a: 1}}", "clipping.mode can't be"),
        ("clipping: {mode: null}", "clipping.mode can't be"),
        ("optimizer: {name: admm}", "did you mean 'adam'?"),
        ("optimizer: adam", "write optimizer: {name: adam}"),
        ("optimizer: true", "optimizer holds keys, not true"),
        ("model: true", "model holds keys, not true; known here: cell, units"),
        ("model: {regularizer: 1}", "model.regularizer holds keys, not 1; known here: l1, l2"),
    ],
)
@pytest.mark.parametrize(
    ("second", "also"),
    [
        ("learning_rate: 0.1", "unknown key 'learning_rate' in the config; did you mean optimizer.learning_rate?"),
        ("units: 3", "unknown key 'units' in the config; did you mean model.units?"),
        ("threshold: 3", "unknown key 'threshold' in the config; did you mean clipping.threshold?"),
        ("layers: {dense: 3}", "unknown key 'layers' in the config; did you mean clipping.layers?"),
        ("trainig: {}", "unknown key 'trainig' in the config; did you mean 'training'?"),
        ("training: {epochs: 0}", "training.epochs: "),
    ],
)
def test_two_ordinary_mistakes_together_are_both_told(
    first: str, told: str, second: str, also: str, write_config: Writer
) -> None:
    for text in (f"{first}\n{second}\n", f"{second}\n{first}\n"):
        path = write_config(text)
        problems = mistakes(path)
        assert len(problems) == 2
        assert all(problem.startswith(f"{path}:") for problem in problems)
        assert any(told in problem for problem in problems)
        assert any(also in problem for problem in problems)


def test_a_key_that_is_named_like_a_mode_is_not_taken_for_it(write_config: Writer) -> None:
    path = write_config("clipping: {mode: clipvalue, clipvalue: {threshold: 1}}")
    assert f"{path}:1:1: missing key 'threshold' in clipping (mode clipvalue needs it)" in mistakes(path)


def test_thousands_of_mistakes_are_told_briefly_and_soon(write_config: Writer) -> None:
    times: dict[int, list[float]] = {900: [], 9000: []}
    for count, taken in [*times.items()] * 3:  # the least of three, since the collector may have its turn in one
        clock = time.process_time()
        told = mistakes(write_config("".join(f"key{number}: 1\n" for number in range(count))))
        taken.append(time.process_time() - clock)
        assert len(told) < 100
        assert "more mistakes" in told[-1]
    assert min(times[9000]) < 40 * min(
        times[900]
    )  # the tenfold takes a hundred times as long where each mistake is looked for among all


BAD = {
    "not YAML": ("training: {epochs: [", "not valid YAML"),
    "a list": ("- 1", "expected keys with values"),
    "unknown key": ("nmae: x", "did you mean 'name'?"),
    "wrong type": ("training: {epochs: many}", 'training.epochs: input should be a valid integer, not "many"'),
    "section is a number": ("training: 3", "training holds keys, not 3; known here: epochs"),
    "zero threshold": ("clipping: {mode: clipnorm, threshold: 0}", "clipping.threshold: input should be greater than 0"),
    "negative threshold": ("clipping: {mode: clipnorm, threshold: -1}", "clipping.threshold: input should be greater than 0"),
    "NaN threshold": ("clipping: {mode: clipnorm, threshold: .nan}", "finite number"),
    "missing threshold": ("clipping: {mode: clipvalue}", "missing key 'threshold'"),
    "threshold for none": ("clipping: {mode: none, threshold: 1}", "where mode is none; modes with a threshold: clipvalue"),
    "threshold for autoclip": ("clipping: {mode: autoclip, threshold: 1}", "where mode is autoclip; modes with a threshold"),
    "layers for a joint rule": (
        "clipping: {mode: global_clipnorm, threshold: 1, layers: {dense: 5}}",
        "modes with thresholds of layers: clipvalue, clipnorm, agc",
    ),
    "a layer that isn't there": (
        "clipping: {mode: clipnorm, threshold: 1, layers: {dnse: 5}}",
        "clipping.layers can't be 'dnse'; did you mean 'dense'? Known: lstm, dense",
    ),
    "a layer of another cell": (
        "model: {cell: gru, units: [8, 4]}\nclipping: {mode: clipnorm, threshold: 1, layers: {lstm: 5}}",
        "Known: gru, gru_1, dense",
    ),
    "a layer's threshold of zero": ("clipping: {mode: clipnorm, threshold: 1, layers: {dense: 0}}", "greater than 0"),
    "percentile above 100": ("clipping: {mode: autoclip, percentile: 101}", "less than or equal to 100, not 101"),
    "percentile below 0": ("clipping: {mode: autoclip, percentile: -1}", "greater than or equal to 0, not -1"),
    "no deviations": ("clipping: {mode: zclip, deviations: 0}", "greater than 0, not 0"),
    "averages that never change": ("clipping: {mode: zclip, smoothing: 1}", "less than 1, not 1"),
    "a warm-up of one step": ("clipping: {mode: zclip, warmup: 1}", "greater than or equal to 2, not 1"),
    "a multiple of zero": ("clipping: {mode: median, multiple: 0}", "greater than 0, not 0"),
    "a window too small for deviations": ("clipping: {mode: skip, window: 3}", "greater than or equal to 4, not 3"),
    "pool that doesn't divide": ("data: {pool: 3}", "data.pool can't be 3. Known: 1, 2, 4"),
    "an empty stack": ("model: {units: []}", "at least 1 item"),
    "units of nothing": ("model: {units: [32, 0]}", "greater than or equal to 1, not 0"),
    "forget bias of a gru": ("model: {cell: gru, forget_bias: 0}", "a gru has no forget gate"),
    "a mode without its key": ("clipping: clipnorm", 'clipping holds keys, not "clipnorm"; write clipping: {mode: clipnorm}'),
    "two modes": ("clipping: {mode: clipvalue, mode: clipnorm, threshold: 1}", "duplicate key 'mode'"),
    "two modes as keys": ("clipping: {clipvalue: 0.5, clipnorm: 1}", "Write clipping: {mode: clipvalue"),
    "unknown mode": ("clipping: {mode: clipnrom, threshold: 1}", "did you mean 'clipnorm'?"),
    "unknown optimizer": ("optimizer: {name: adan}", "did you mean 'adam'?"),
    "misspelt parameter": ("optimizer: {name: adam, beta1: 0.9}", "did you mean 'beta_1'?"),
    "clipping in the optimizer": ("optimizer: {name: adam, clipnorm: 1}", "Write clipping: {mode: clipnorm"),
    "moving average": ("optimizer: {name: adam, use_ema: true}", "unknown key 'use_ema'"),
    "duplicate key": ("training: {epochs: 1}\ntraining: {epochs: 2}", "duplicate key 'training' (first at"),
    "boolean for a number": ("training: {epochs: true}", "training.epochs: input should be a valid integer, not true"),
    "infinite rate": ("optimizer: {learning_rate: .inf}", "input should be a finite number, such as 0.1, not inf"),
    "a text for a rate": ("optimizer: {learning_rate: fast}", 'input should be a valid number, such as 0.1, not "fast"'),
    "infinite threshold": (
        "clipping: {mode: clipnorm, threshold: .inf}",
        "finite number, such as 0.1 (no clipping is clipping: {mode: none}), not inf",
    ),
    "overflowing rate": ("optimizer: {learning_rate: 1e999}", "finite number"),
    "Python tag": ("name: !!python/object/apply:os.system ['true']", "Python tag"),
    "other tag": ("name: !secret x", "tag or value '!secret' is not plain YAML"),
    "name that leaves the folder": ("name: ../x", "it names a folder"),
    "name with a slash": ("name: a/b", "it names a folder"),
    "bare no as a name": ("name: no", "put it in quotes"),
    "no units": ("model: {units: 0}", "greater than or equal to 1"),
    "no epochs": ("training: {epochs: 0}", "greater than or equal to 1"),
    "no batch": ("data: {batch_size: 0}", "greater than or equal to 1"),
    "negative seed": ("training: {seed: -1}", "greater than or equal to 0"),
    "nothing left to train on": ("data: {holdout: 60000}", "holdout must leave training images"),
    "extends nothing": ("extends: nowhere.yaml", "there is no such file"),
    "extends a list": ("extends: [a, b]", 'extends one config, by file or shipped name, not ["a", "b"]'),
    "extends a section": ("extends: {mode: none}", 'extends one config, by file or shipped name, not {"mode": "none"}'),
    "extends nothing said": ("extends:", "extends one config, by file or shipped name, not null"),
    "extends a very long name": (f"extends: {'x' * 300}", "there is no such file"),
    "extends a name with a zero": ('extends: "a\\0b"', "there is no such file"),
    "empty": ("", "is empty"),
    "comments only": ("# nothing\n", "is empty"),
    "empty braces": ("{}", "is empty"),
    "a boolean that is none": ("engine: {jit: !!bool maybe}", "'maybe' is no bool"),
    "a timestamp that is none": ("name: !!timestamp x", "'x' is no timestamp"),
    "an integer that is none": ("training: {epochs: !!int x}", "'x' is no int"),
    "a float that is none": ("optimizer: {learning_rate: !!float x}", "'x' is no float"),
    "bytes": ("name: !!binary aGFsbG8=", "is not plain YAML"),
    "a number of 5,000 digits": (f"training: {{epochs: {'9' * 5000}}}", "an int of 5,000 letters"),
    "a hexadecimal number of 5,000 digits": (f"training: {{epochs: 0x{'f' * 5000}}}", "an int of 5,002 letters"),
    "a key of 1,000 letters": (f"{'k' * 1000}: 1", "unknown key"),
    "endless epochs": ("training: {epochs: 99999999999999999999}", "training.epochs: input should be less than or equal to"),
    "endless steps": ("training: {steps_per_epoch: 99999999999999999999}", "training.steps_per_epoch: input should be less"),
    "more steps than can be stored": (
        "training: {epochs: 1000000, steps_per_epoch: 1000000}",
        f"epochs times steps_per_epoch must be at most {MOST_STEPS:,}",
    ),
    "a seed of 20 digits": ("training: {seed: 99999999999999999999}", "less than or equal to 4294967295"),
    "endless units": ("model: {units: 99999999999999999999}", "model.units: input should be less than or equal to"),
    "endless units in a stack": ("model: {units: [3, 99999999999999999999]}", "model.units: input should be less than"),
    "a stack of 1,000 layers": (f"model: {{units: {[1] * 1000}}}", "at most"),
    "endless batches": ("data: {batch_size: 99999999999999999999}", "data.batch_size: input should be less than or equal to"),
    "an endless buffer": ("data: {shuffle_buffer: 99999999999999999999}", "data.shuffle_buffer: input should be less than"),
    "an endless holdout": ("data: {holdout: 99999999999999999999}", "holdout must leave training images"),
    "an endless window": ("clipping: {mode: autoclip, window: 99999999999999999999}", "less than or equal to 100000"),
    "endless iterations": ("optimizer: {name: muon, ns_steps: 99999999999999999999}", "less than or equal to"),
    "an endless warm-up": ("optimizer: {name: schedulefreeadamw, warmup_steps: 99999999999999999999}", "less than or equal to"),
    "top-level key of a section": ("epochs: 3", "did you mean training.epochs?"),
    "second document": ("name: a\n---\nname: b", "not valid YAML"),
    "tab": ("training:\n\tepochs: 1", "not valid YAML"),
    "mapping as a key": ("{a: b}: c", "a key must be a plain word"),
    "bad date": ("name: 2020-99-99", "'2020-99-99' is no timestamp; a text stands in quotes"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_configs(case: str, write_config: Writer) -> None:
    text, expected = BAD[case]
    path = write_config(text)
    told = mistakes(path)
    assert all(line.startswith(f"{path}:") for line in told)
    assert expected in "\n".join(line.removeprefix(str(path)) for line in told)  # the path has the case's name in it


def test_what_cannot_be_seen_is_written_out(write_config: Writer) -> None:
    (told,) = mistakes(write_config('"\\e[31m\\nred": 1'))
    assert "\x1b" not in told
    assert "\n" not in told
