"""`suggest`: the pilot is unclipped to the bit, thresholds follow from its records, and what it pastes is a config."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import call, engine_for, options, rule_with, sample, schedule_for, start_weights

from gradclip_cli import engines
from gradclip_cli.config import loading
from gradclip_cli.experiments import suggest
from gradclip_cli.experiments.suggest import Pilot, Suggestion
from gradclip_cli.gradients.clipping_rule import Situation
from gradclip_cli.gradients.health import Detector
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.gradients.rules.agc import AdaptiveClip
from gradclip_cli.gradients.step_records import StepRecords

pytestmark = [pytest.mark.trains, pytest.mark.usefixtures("engines_built_once")]

SAMPLE = "data.subset=sample"
SMALL_MODEL = ("model.cell=simple_rnn", "model.units=4")
STEPS = 60


@functools.cache
def pilot_of(name: str = "clipnorm", steps: int = STEPS, seed: int = 3) -> Pilot:
    return suggest.pilot(loading.load(name, settings_of(name)).with_seed(seed), steps)


def settings_of(name: str) -> tuple[str, ...]:
    """A small model, but the article's own, by XLA, for `none`: where few steps are taken, that compiles for longer."""
    if name == "none":
        return (SAMPLE,)
    return (SAMPLE, "engine.jit=false", *(() if name == "explode/linear" else SMALL_MODEL))


def by_mode(pilot: Pilot) -> dict[str, Suggestion]:
    return {suggestion.mode: suggestion for suggestion in suggest.suggestions(pilot)}


def made_up(norms: Any, *, loss: Any = None, variables: int = 2, diverged: bool = False) -> Pilot:
    """A pilot of these joint norms, all of them in the first variable's largest element; `excess` is a tenth of them."""
    norms = np.asarray(norms, float)
    each = np.zeros((len(norms), variables))
    each[:, 0] = norms
    losses = np.linspace(2.3, 1.0, len(norms)) if loss is None else np.asarray(loss, float)
    none = np.zeros(len(norms))
    excess = norms / 10 / suggest.UNREACHABLE
    finite = np.isfinite(each)
    records = StepRecords(losses, none, none.astype(int), each, each, each, each, excess, norms / 100, finite)
    detector = Detector([f"layer_{index}/kernel" for index in range(variables)])
    detector.update(losses, each, norms, none.astype(bool))
    diagnosis = detector.diagnosis(diverged=diverged)
    first = diagnosis.first_explosion
    return Pilot(
        loading.load("none"), tuple(f"layer_{index}/kernel" for index in range(variables)), records, diagnosis, None,
        first.step - 1 if first else len(norms), {"accuracy": True},
    )  # fmt: skip


# The pilot.


@pytest.mark.parametrize(
    ("name", "steps"),
    [("clipnorm", STEPS), ("explode/linear", 20), pytest.param("none", 300, marks=pytest.mark.slow)],
)
def test_the_pilot_is_unclipped_to_the_last_bit(name: str, steps: int) -> None:
    pilot = pilot_of(name, steps)
    unclipped = loading.load(name, (*settings_of(name), "clipping={mode: none}")).with_seed(3)
    records = engine_for(unclipped).train(schedule_for(unclipped).take(steps)).first(len(pilot.records))
    for quantity in ("loss", "norm", "max_abs", "applied_max_abs"):
        assert np.array_equal(getattr(pilot.records, quantity), getattr(records, quantity), equal_nan=True), quantity
    for quantity in ("correct", "weights_finite"):
        assert np.array_equal(getattr(pilot.records, quantity), getattr(records, quantity)), quantity


def test_the_pilot_s_pieces_are_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(suggest, "CHUNK", 25)
    chosen = loading.load("clipnorm", settings_of("clipnorm")).with_seed(3)
    building = "building the model" if "tensorflow" in sys.modules else "importing TensorFlow"
    pieces = suggest.pilot(chosen, STEPS, report=told.append, preparing=told.append)
    assert told == ["loading the dataset", building, "compiling", 25, 50, 60]
    assert np.array_equal(pieces.records.loss, pilot_of().records.loss)
    assert suggest.suggestions(pieces) == suggest.suggestions(pilot_of())


def test_a_pilot_that_diverges_ends_there() -> None:
    pilot = pilot_of("explode/linear", 20)
    assert pilot.divergence is not None
    assert len(pilot.records) == pilot.divergence.step < 20
    assert pilot.sane_steps < pilot.divergence.step
    assert np.isfinite(pilot.sane.norm).all()
    assert suggest.suggestions(pilot) == []
    told = " ".join(suggest.sentences(pilot))
    assert f"The pilot diverged: {pilot.divergence.message}" in told
    assert "smaller learning rate" in told
    assert "clipping: {mode: clipnorm, threshold: 1}" in told


def test_a_divergence_is_told_in_the_epoch_that_it_would_have_come_in() -> None:
    chosen = loading.load("explode/linear", (*settings_of("explode/linear"), "training.steps_per_epoch=2")).with_seed(3)
    diverged = suggest.pilot(chosen, 20).divergence
    assert diverged is not None
    assert diverged.epoch == (diverged.step + 1) // 2 > 1


def test_a_divergence_that_no_explosion_foretold_is_not_counted_as_sane(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that overflows while gradients stay finite and alike."""
    chosen = loading.load("clipnorm", settings_of("clipnorm"))
    agc = AdaptiveClip(mode="agc", threshold=suggest.UNREACHABLE)
    engine = engines.build(chosen.model_copy(update={"clipping": agc}), sample())
    train = engine.train

    def overflowing(batches: Any) -> StepRecords:
        records = train(batches)
        records.loss[-1] = np.inf
        return records

    monkeypatch.setattr(engine, "train", overflowing)
    pilot = suggest.pilot(chosen, 30)
    assert pilot.divergence is not None
    assert (len(pilot.records), pilot.sane_steps) == (30, 29)
    assert "Thresholds and shares are those of the 29 steps before it." in suggest.sentences(pilot)


# Thresholds and shares.


def test_thresholds_follow_from_the_records_by_hand() -> None:
    pilot, found = pilot_of(), by_mode(pilot_of())
    records = pilot.records
    joint = np.sqrt(np.square(records.norm).sum(axis=1))
    largest_element = records.max_abs.max(axis=1)
    adaptive = ["autoclip", "median", "zclip", "adagc", "skip"]
    assert list(found) == ["global_clipnorm", "clipnorm", "clipvalue", "normalize", "agc", *adaptive]
    assert set(found) == set(RULES) - {"none"}
    expected = {
        "global_clipnorm": joint.mean(),
        "clipnorm": records.norm.max(axis=1).mean(),
        "clipvalue": np.percentile(largest_element, 90),
        "normalize": np.median(joint),
        "agc": np.percentile(records.excess * 1e30, 90),
    }
    for mode, value in expected.items():
        assert found[mode].clipping == {"mode": mode, "threshold": pytest.approx(value, rel=0.05 if value < 2 else 0.1)}
    low, high = (float(f"{multiple * joint.mean():.2g}") for multiple in (0.5, 10))
    assert f"{low:g} to {high:g}" in found["global_clipnorm"].reason
    assert "Pascanu" in found["global_clipnorm"].reason
    assert found["autoclip"].clipping == {"mode": "autoclip", "percentile": 10}
    assert found["median"].clipping == {"mode": "median", "multiple": 2}
    assert found["zclip"].clipping == {"mode": "zclip", "deviations": 2.5}
    assert found["adagc"].clipping == {"mode": "adagc", "multiple": 1.05}
    assert found["skip"].clipping == {"mode": "skip", "deviations": 6}


def test_shares_are_those_of_the_steps_beyond() -> None:
    records, found = pilot_of().records, by_mode(pilot_of())
    joint = np.sqrt(np.square(records.norm).sum(axis=1))
    threshold = {mode: suggestion.clipping.get("threshold", np.nan) for mode, suggestion in found.items()}
    for mode, beyond in {
        "global_clipnorm": joint > threshold["global_clipnorm"],
        "clipnorm": (records.norm > threshold["clipnorm"]).any(axis=1),
        "clipvalue": (records.max_abs > threshold["clipvalue"]).any(axis=1),
        "agc": records.excess * 1e30 > threshold["agc"],
    }.items():
        assert found[mode].clipped_share == beyond.mean(), mode
    past = [joint[step] > np.percentile(joint[: step + 1].astype(np.float32), 10) for step in range(len(joint))]
    assert found["autoclip"].clipped_share == pytest.approx(np.mean(past), abs=1.5 / len(joint))
    past = [step > 0 and joint[step] > 2 * np.median(joint[max(0, step - 100) : step]) for step in range(len(joint))]
    assert found["median"].clipped_share == pytest.approx(np.mean(past), abs=1.5 / len(joint))
    assert found["adagc"].clipped_share >= (joint[:100] > 1).sum() / len(joint)
    assert found["normalize"].clipped_share == 1
    longer = (joint > threshold["normalize"]).mean()
    assert f"{longer:.0%}" in found["normalize"].reason


@pytest.mark.parametrize("scale", [1e-7, 0.0123, 1, 1e6, 3e30])
@pytest.mark.parametrize("spread", [1e-6, 0.1, 1.0])
def test_nine_steps_in_ten_stay_below_a_percentile_s_threshold_even_when_it_is_rounded(scale: float, spread: float) -> None:
    norms = scale * (1 + spread * np.random.default_rng(0).random(200))
    found = by_mode(made_up(norms))
    for mode in ("clipvalue", "agc"):
        assert found[mode].clipped_share <= 0.1, mode
        assert len(f"{found[mode].clipping['threshold']:g}".partition("e")[0].replace(".", "").strip("0")) <= 2


@functools.cache
def gradients_of_the_first_step() -> tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]:
    """The pilot's first step's gradients, by plain Keras, and the weights that they were taken at."""
    import tensorflow as tf

    from gradclip_cli.problems.article_tensorflow import build_model

    chosen = pilot_of().config
    model = build_model(chosen.model, *chosen.data.sequence_shape, 10)
    start = start_weights(chosen)
    names = {f"{layer.name}/{variable.name}": variable for layer in model.layers for variable in layer.trainable_variables}
    for name, variable in names.items():
        variable.assign(start[name])
    batch = schedule_for(chosen).take(1)[0]
    images = tf.cast(sample().train_inputs[batch], tf.float32) / chosen.data.scale
    with tf.GradientTape() as tape:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(sample().train_targets[batch].astype(int), model(images))
        loss = tf.reduce_mean(losses)
    gradients = tape.gradient(loss, [variable.value for variable in names.values()])
    return [np.asarray(gradient) for gradient in gradients], [start[name] for name in names]


@pytest.mark.parametrize("mode", [mode for mode in RULES if mode != "none"])
@pytest.mark.parametrize("multiple", [0.5, 1.0, 1.5])
def test_a_share_says_on_which_steps_the_rule_really_acts(mode: str, multiple: float) -> None:
    """On a pilot of one step, held against the rule itself on that step's gradients."""
    pilot = pilot_of()
    first = replace(pilot, records=pilot.records.first(1), sane_steps=1)
    gradients, weights = gradients_of_the_first_step()
    assert [np.linalg.norm(gradient) for gradient in gradients] == pytest.approx(first.records.norm[0], rel=1e-4)
    at_bound = {
        "agc": float(first.records.excess[0] * 1e30),
        "clipvalue": float(first.records.max_abs.max()),
        "clipnorm": float(first.records.norm.max()),
    }.get(mode, float(first.records.global_norm[0]))
    rule = rule_with(mode, threshold=multiple * at_bound, warmup_threshold=multiple * at_bound)
    thresholds = [rule.threshold_of_all or np.inf] * len(gradients)
    clipped = rule.apply(Situation(gradients, thresholds, weights, rule.memory(len(gradients))), np).gradients
    acted = any((before != after).any() for before, after in zip(gradients, clipped, strict=True))
    if mode in ("autoclip", "median", "zclip", "skip"):
        assert suggest.share(first, rule) == 0  # Alone, a step is its own percentile, and stands out from nothing.
    elif multiple != 1:  # Exactly at the bound rounding decides.
        assert suggest.share(first, rule) == acted


def test_the_share_is_what_training_with_the_rule_records_as_long_as_it_has_not_acted() -> None:
    """Until a rule first acts, its run is the pilot: the step at which it does is the first that the share counts."""
    pilot = pilot_of()
    norms = pilot.records.norm.max(axis=1)
    suggestion = by_mode(pilot)["clipnorm"]
    settings = (*settings_of("clipnorm"), f"clipping={json.dumps(suggestion.clipping)}")
    chosen = loading.load("clipnorm", settings).with_seed(3)
    records = engine_for(chosen).train(schedule_for(chosen).take(5))
    acts = int(np.argmax(norms > suggestion.clipping["threshold"]))
    assert bool(records.clipped[0]) == (acts == 0)
    assert records.norm[0] == pytest.approx(pilot.records.norm[0], rel=0)
    assert np.argmax(records.clipped) == acts if acts < 5 else not records.clipped.any()


@pytest.mark.parametrize("name", ["clipnorm", "adam/none"])
def test_what_is_pasted_is_a_config(name: str, write_config: Callable[..., Path]) -> None:
    for suggestion in suggest.suggestions(pilot_of()):
        assert yaml.safe_load(suggestion.yaml) == {"clipping": suggestion.clipping}
        loaded = loading.load(str(write_config(f"extends: {name}\n{suggestion.yaml}\n")))
        assert loaded.clipping.model_dump(include=set(suggestion.clipping)) == suggestion.clipping


@pytest.mark.parametrize("scale", [1e-20, 1e-5, 1, 1e6, 1e30])
def test_what_is_pasted_is_a_config_at_any_scale(scale: float, write_config: Callable[..., Path]) -> None:
    found = suggest.suggestions(made_up(scale * np.linspace(1, 2, 50)))
    assert len(found) == len(RULES) - 1
    for suggestion in found:
        loaded = loading.load(str(write_config(f"extends: none\n{suggestion.yaml}\n")))
        assert loaded.clipping.model_dump(include=set(suggestion.clipping)) == suggestion.clipping


def test_thresholds_come_from_before_the_first_explosion() -> None:
    pilot = made_up([*np.linspace(1, 2, 40), 1e6, 1.0, 1e9])
    assert pilot.sane_steps == 40
    assert suggest.suggestions(pilot) == suggest.suggestions(made_up(np.linspace(1, 2, 40)))
    assert "Thresholds and shares are those of the 40 steps before the first explosion." in suggest.sentences(pilot)


# What is told.


def test_too_few_steps_are_told_as_what_they_are() -> None:
    short = made_up(np.linspace(1, 2, 19))
    assert suggest.suggestions(short) == []
    assert "A pilot of 19 steps is too short for a threshold, which takes 20 or more." in suggest.sentences(short)
    assert not any("rate" in line for line in suggest.sentences(short)[1:])
    exploded = made_up([1, 1, 1, 1, 1e6, 1])
    told = suggest.sentences(exploded)
    assert any("only 4 steps before the first explosion" in line and "smaller learning rate" in line for line in told)
    assert not any("Thresholds and shares" in line for line in told)
    at_once = made_up([np.inf, 1, 1], diverged=True)
    assert any("no step before the first explosion" in line for line in suggest.sentences(at_once))
    still = made_up(np.zeros(30))
    assert suggest.suggestions(still) == []
    assert "Every gradient was zero: there is nothing to clip." in suggest.sentences(still)


def test_one_step_is_told_in_the_singular() -> None:
    assert suggest.sentences(made_up([1.0]))[0].startswith("1 step of none without clipping (seed 0), SGD 0.01: loss 2.3, ")


def test_the_distribution_is_of_norms_and_elements() -> None:
    pilot = pilot_of()
    headings, rows = suggest.distribution(pilot)
    assert headings == ["norm of", "10%", "50%", "90%", "99%", "largest", "mean"]
    assert [row[0] for row in rows] == ["all together", *pilot.variables, "largest element"]
    joint = np.sqrt(np.square(pilot.records.norm).sum(axis=1))
    assert rows[0][1:] == [f"{value:.3g}" for value in (*np.percentile(joint, [10, 50, 90, 99, 100]), joint.mean())]
    assert rows[-1][5] == f"{pilot.records.max_abs.max():.3g}"


def invoked(*arguments: str) -> Any:
    return call("suggest", *arguments, *options(*settings_of(arguments[0])))


def test_the_command_tells_pilot_distribution_and_suggestions() -> None:
    told = invoked("clipnorm", "--steps", str(STEPS), "--seed", "3")
    assert told.exit_code == 0, told.output
    stage = f"pilot: {STEPS} unclipped steps\n"
    assert told.stderr == f"The pilot runs without clipping; clipnorm 1 in clipnorm is judged by it.\n{stage}"
    assert "Yours, clipnorm 1, would have acted on none of these steps." in told.stdout
    assert told.stdout.index("Yours, ") < told.stdout.index("to try")
    for suggestion in suggest.suggestions(pilot_of()):
        (line,) = [line for line in told.stdout.splitlines() if line.startswith(suggestion.yaml)]
        assert f" {suggestion.clipped_share:.0%} " in line
        assert suggestion.reason in line
    assert told.stdout.startswith(f"{STEPS} steps of clipnorm")
    other = invoked("global_clipnorm", "--steps", str(STEPS), "--seed", "3")
    assert "global_clipnorm 1 in global_clipnorm is judged" in other.stderr
    unclipped = invoked("clipnorm", "--steps", str(STEPS), "--seed", "3", "--set", "clipping={mode: none}")
    assert unclipped.stderr == stage
    assert "Yours" not in unclipped.stdout
    same = [
        [line for line in ended.stdout.splitlines()[1:] if line and not line.startswith("Yours, ")]
        for ended in (unclipped, other, told)
    ]
    assert same[0] == same[1] == same[2]


def test_a_pilot_that_diverges_is_an_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    told = invoked("explode/linear", "--steps", "20", "--seed", "3")
    assert told.exit_code == 0
    assert "The pilot diverged: loss" in told.stdout
    assert "to try" not in told.stdout
    as_json = invoked("explode/linear", "--steps", "20", "--seed", "3", "--json").stdout
    content = json.loads(as_json, parse_constant=pytest.fail)
    assert content["diagnosis"] == "diverged"
    assert content["suggestions"] == []
    assert content["steps"] > content["sane_steps"]
    assert not list(tmp_path.iterdir())  # nothing is stored


def test_json_holds_the_figures_unrounded() -> None:
    told = invoked("clipnorm", "--steps", str(STEPS), "--seed", "3", "--json")
    content, pilot = json.loads(told.stdout, parse_constant=pytest.fail), pilot_of()
    assert (content["schema"], content["steps"], content["sane_steps"], content["seed"]) == (1, STEPS, STEPS, 3)
    assert content["ignored"] == {"mode": "clipnorm", "threshold": 1.0, "layers": {}}
    assert content["yours"] == {
        "clipped_share": 0.0,
        "cut_share": None,
        "told": "Yours, clipnorm 1, would have acted on none of these steps.",
    }
    joint = np.sqrt(np.square(pilot.records.norm).sum(axis=1))
    assert content["norms"][0]["norm of"] == "all together"
    assert content["norms"][0]["mean"] == pytest.approx(joint.mean(), rel=1e-12)
    for said, suggestion in zip(content["suggestions"], suggest.suggestions(pilot), strict=True):
        assert said == {"clipping": suggestion.clipping, "clipped_share": suggestion.clipped_share, "reason": suggestion.reason}
    assert json.loads(json.dumps(suggest.to_dict(made_up([np.nan, np.inf, 1.0])), allow_nan=False))["norms"] == []


def judged(norms: Any, clipping: str) -> suggest.Judgement | None:
    """How a pilot of these norms, all in the first of two variables, judges a config that clips so."""
    pilot = made_up(norms)
    names = ("lstm/kernel", "dense/kernel")
    return suggest.judgement(replace(pilot, variables=names, config=loading.load("none", ["name=mine", f"clipping={clipping}"])))


NORMS = [1.0] * 30 + [2.0] * 6 + [4.0] * 4


@pytest.mark.parametrize(
    ("clipping", "share", "cut"),
    [
        ("{mode: clipnorm, threshold: 1}", 0.25, (6 * 0.5 + 4 * 0.75) / 10),
        ("{mode: global_clipnorm, threshold: 2}", 0.1, 0.5),
        ("{mode: global_clipnorm, threshold: 5}", 0.0, None),
        ("{mode: clipnorm, threshold: 5, layers: {lstm: 2}}", 0.1, 0.5),
        ("{mode: clipnorm, threshold: 1, layers: {lstm: null}}", 0.0, None),
        ("{mode: clipvalue, threshold: 2}", 0.1, None),  # which elements were cut, no norm tells
        ("{mode: normalize, threshold: 1}", 1.0, (6 * 0.5 + 4 * 0.75) / 40),
        ("{mode: normalize, threshold: 8}", 1.0, 0.0),
        ("{mode: autoclip, percentile: 0}", 0.25, (6 * 0.5 + 4 * 0.75) / 10),
        ("{mode: agc, threshold: 0.3}", 0.1, None),
        ("{mode: agc, threshold: 0.3, layers: {lstm: 1}}", None, None),
    ],
)
def test_the_config_s_own_rule_is_judged(clipping: str, share: float | None, cut: float | None) -> None:
    own = judged(NORMS, clipping)
    assert own
    assert own.clipped_share == share
    assert own.cut_share == (None if cut is None else pytest.approx(cut))


@pytest.mark.parametrize(
    ("clipping", "told"),
    [
        ("{mode: clipnorm, threshold: 1}", "clipnorm 1, would have acted on 25% of these steps and cut 60% off the norm there"),
        ("{mode: clipnorm, threshold: 9}", "clipnorm 9, would have acted on none of these steps."),
        ("{mode: clipvalue, threshold: 2}", "clipvalue 2, would have acted on 10% of these steps; how much"),
        ("{mode: normalize, threshold: 8}", "normalize 8, would have acted on 100% of these steps and cut nothing off: it would"),
        ("{mode: agc, layers: {lstm: 1}}", "agc 0.01 (lstm 1), can't be judged by this pilot"),
    ],
)  # fmt: skip
def test_the_judgement_is_a_sentence(clipping: str, told: str) -> None:
    own = judged(NORMS, clipping)
    assert own
    assert own.message.startswith(f"Yours, {told}")


def test_nothing_is_judged_where_nothing_clips_or_too_little_was_seen() -> None:
    assert judged(NORMS, "{mode: none}") is None
    assert judged([1.0] * 5, "{mode: clipnorm, threshold: 1}") is None


def test_agc_s_paper_default_is_set_beside() -> None:
    reason = by_mode(made_up(np.linspace(0.05, 0.15, 100)))["agc"].reason  # ratios of 0.005 to 0.015
    assert f"the paper's {AdaptiveClip(mode='agc').threshold:g} would act on 50%" in reason


def test_a_config_that_is_not_there_exits_2() -> None:
    told = call("suggest", "cilpnorm")
    assert told.exit_code == 2
    assert "did you mean 'clipnorm'?" in told.stderr
    assert call("suggest", "none", "--steps", "0").exit_code == 2


@pytest.mark.parametrize("zeros", [60, 95])
def test_no_threshold_of_zero_is_ever_suggested(zeros: int) -> None:
    """Where gradients mostly vanish, a percentile of them may be 0, which no rule takes."""
    found = by_mode(made_up([0.0] * zeros + [1.0] * (100 - zeros)))
    assert all(suggestion.clipping.get("threshold", 1) > 0 for suggestion in found.values())
    assert "normalize" not in found
    assert ("clipvalue" in found) == (zeros < 90)
