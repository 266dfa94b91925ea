"""What gradients say: the same whatever the pieces, each spike where its definition puts it, each word for what deserves it."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from conftest import SMALL, UNCOMPILED, engine_for, latest, start_weights
from hypothesis import given
from hypothesis import strategies as st
from trained import AMPLIFYING, LOW, OVERFLOWING, run, small

from gradclip_cli.config import loading
from gradclip_cli.config.schema import Config
from gradclip_cli.gradients.health import Detector, Diagnosis

VARIABLES = ("lstm/kernel", "lstm/bias", "dense/kernel")
NAN, INF = math.nan, math.inf


def read(
    norms: Any,
    losses: Sequence[float] | None = None,
    *,
    applied: Sequence[float] | None = None,
    clipped: Sequence[bool] | None = None,
    cuts: Sequence[int] = (),
    diverged: bool = False,
) -> Diagnosis:
    """Diagnose steps, (S,) of one variable or (S, V), read in pieces that end at `cuts`."""
    norm = np.atleast_2d(np.asarray(norms, float).T).T
    joint = np.linalg.norm(norm, axis=1)
    loss = np.full(len(norm), 2.0) if losses is None else np.asarray(losses, float)
    applied_norm = joint if applied is None else np.asarray(applied, float)
    were_clipped = np.zeros(len(norm), bool) if clipped is None else np.asarray(clipped, bool)
    detector = Detector(VARIABLES[: norm.shape[1]])
    spikes = []
    for piece in map(slice, [0, *cuts], [*cuts, len(norm)]):
        spikes += detector.update(loss[piece], norm[piece], applied_norm[piece], were_clipped[piece])
    diagnosis = detector.diagnosis(diverged=diverged)
    assert diagnosis.spikes == tuple(spikes)
    return diagnosis


def spikes_by_definition(norms: Sequence[float]) -> list[int]:
    """A step that is not finite, or above ten times the median of the up to a hundred before it (above zero)."""
    known = [norm if math.isfinite(norm) else INF for norm in norms]
    found = []
    for index, norm in enumerate(known):
        before = known[max(0, index - 100) : index]
        middle = median(before) if before else 0
        if norm == INF or (middle > 0 and norm > 10 * middle):
            found.append(index + 1)
    return found


@st.composite
def traces(draw: st.DrawFn, *, variables: int = 1, broken: bool = True, longest: int = 350) -> np.ndarray[Any, Any]:
    """Norms (S, V) with heavy tails; with zeros and, where `broken`, some that are not finite."""
    steps = draw(st.integers(1, longest))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    norms = np.exp(draw(st.sampled_from([0.1, 1.0, 3.0])) * generator.normal(size=(steps, variables)))
    oddities = [0.0, INF, NAN] if broken else [0.0]
    odd = generator.random(norms.shape) < draw(st.sampled_from([0.0, 0.02, 0.7]))
    return np.where(odd, generator.choice(oddities, norms.shape), norms)


@given(st.data())
def test_the_pieces_do_not_matter(data: st.DataObject) -> None:
    """Neither their number nor their sizes change a single bit of what is found."""
    norms = data.draw(traces(variables=3, longest=200))
    steps = len(norms)
    generator = np.random.default_rng(steps)
    losses, clipped = generator.random(steps), generator.random(steps) < 0.5
    cuts = sorted(data.draw(st.lists(st.integers(0, steps), max_size=10)))
    given_too: dict[str, Any] = {"losses": losses, "applied": generator.random(steps), "clipped": clipped}
    whole = read(norms, **given_too)
    for pieces in (cuts, range(1, steps)):
        assert repr(read(norms, **given_too, cuts=pieces)) == repr(whole)


@given(traces() | st.lists(st.sampled_from([0.0, 1.0, 2.0, 10.0, 20.0, 30.0, 1e9, INF, NAN]), min_size=1).map(np.array))
def test_spikes_stand_where_the_definition_puts_them(norms: np.ndarray[Any, Any]) -> None:
    assert [spike.step for spike in read(norms).spikes] == spikes_by_definition(norms.ravel().tolist())


@given(traces(broken=False), st.integers(-60, 60))
def test_scale_changes_no_spike(norms: np.ndarray[Any, Any], exponent: int) -> None:
    """Powers of two, so that rounding plays no part."""
    scaled, plain = read(norms * 2.0**exponent), read(norms)
    assert [(spike.step, spike.multiple) for spike in scaled.spikes] == [(spike.step, spike.multiple) for spike in plain.spikes]
    assert scaled.word == plain.word


@given(st.floats(1e-30, 1e30), st.integers(1, 300))
def test_constant_norms_are_healthy(norm: float, steps: int) -> None:
    diagnosis = read([norm] * steps)
    assert (diagnosis.word, diagnosis.spikes, diagnosis.message) == ("healthy", (), "healthy")
    assert diagnosis.median == diagnosis.largest == pytest.approx(norm)
    assert diagnosis.last_sane == (steps, pytest.approx(norm))


def test_a_spike_is_told_with_its_variable() -> None:
    norms = np.full((10, 3), [1.0, 0.1, 2.0])
    norms[6] = [300, 40, 5]
    (spike,) = read(norms).spikes
    assert (spike.step, spike.variable, spike.explosive) == (7, "lstm/kernel", False)
    assert spike.norm == pytest.approx(math.sqrt(300**2 + 40**2 + 5**2))
    assert spike.multiple == pytest.approx(spike.norm / math.sqrt(1 + 0.01 + 4))
    assert spike.brief == "135x at step 7: lstm/kernel"
    assert spike.message == "gradient spike at step 7: norm 303, 135 times the running median, most in lstm/kernel"


def test_one_step_before_is_enough() -> None:
    assert read([50]).word == "healthy"
    assert [spike.step for spike in read([1, 50]).spikes] == [2]


def test_only_the_last_hundred_steps_count() -> None:
    norms = [100.0] * 60 + [1.0] * 100 + [11.0]
    assert [spike.step for spike in read(norms).spikes] == [161]
    assert not read(norms[:100] + norms[160:]).spikes  # 60 of the hundred before are still large


def test_a_running_median_of_zero_has_no_multiples() -> None:
    assert read([0.0] * 50 + [1.0] * 5).spikes == ()
    assert [spike.step for spike in read([0.0] * 50 + [INF]).spikes] == [51]


# Each word, from made-up traces.


def test_spiking_and_exploding_differ_by_the_multiple() -> None:
    spiking = read([1.0] * 30 + [900] + [1.0] * 30 + [800])
    assert (spiking.word, spiking.first_explosion) == ("spiking", None)
    assert spiking.message == "spiking, 2 spikes from step 31 (lstm/kernel)"
    exploding = read([1.0] * 30 + [50] + [1.0] * 30 + [1001] + [1.0] * 30)
    assert exploding.first_spike is not None
    assert exploding.first_explosion is not None
    assert (exploding.word, exploding.first_spike.step, exploding.first_explosion.step) == ("exploding", 31, 62)
    assert exploding.message == "exploding, an explosion at step 62 (lstm/kernel)"
    assert read([1.0] * 30 + [1001, 1, 1001]).message == "exploding, 2 explosions from step 31 (lstm/kernel)"


def test_a_growth_too_slow_for_spikes_explodes_too() -> None:
    norms = 1.02 ** np.arange(1000)
    diagnosis = read(norms)
    assert (diagnosis.word, diagnosis.spikes, diagnosis.message) == ("exploding", (), "exploding")
    learning = read(norms, np.linspace(2.3, 0.5, 1000))  # off a plateau, say
    assert learning.word == "healthy"


def test_diverged_is_said_by_who_knows() -> None:
    trace = [1.0] * 30 + [1e20, INF]
    assert read(trace, diverged=True).word == "diverged"
    assert read(trace, diverged=True).message == "diverged, 2 spikes from step 31 (lstm/kernel)"
    assert read([1.0] * 30, diverged=True).message == "diverged"


def test_norms_that_sink_while_the_loss_stands_still_vanish() -> None:
    norms = np.geomspace(1, 1e-4, 400)
    diagnosis = read(norms)
    assert (diagnosis.word, diagnosis.vanishing, diagnosis.message) == ("vanishing", True, "vanishing")
    assert diagnosis.norm_ratio == pytest.approx(1e-4, rel=1)
    assert diagnosis.loss_change == 0


@pytest.mark.parametrize("norms", [[0.0] * 40, [1.0] * 20 + [0.0] * 500, [1.0] * 20 + [1e-6] * 5000])
def test_dead_gradients_vanish_however_early_they_died(norms: list[float]) -> None:
    assert read(norms).word == "vanishing"


@pytest.mark.parametrize(
    "losses", [np.geomspace(2.3, 1e-3, 5000), np.concatenate([np.linspace(2.3, 0.4, 200), np.full(4800, 0.4)])]
)
def test_a_converging_run_does_not_vanish(losses: np.ndarray[Any, Any]) -> None:
    """Also where the loss had reached its floor long before the first tenth of the steps was over."""
    diagnosis = read(np.geomspace(1, 1e-4, 5000), losses)
    assert (diagnosis.word, diagnosis.vanishing) == ("healthy", False)
    assert diagnosis.loss_change == pytest.approx(losses[-1] / 2.3 - 1, rel=0.2)


def test_a_first_layer_that_nothing_reaches_vanishes() -> None:
    norms = np.full((100, 3), [3e-4, 4e-4, 1.0])
    diagnosis = read(norms)
    assert diagnosis.reach == pytest.approx(5e-4)
    assert diagnosis.word == "vanishing"
    assert read(norms, np.linspace(2, 1, 100)).word == "healthy"
    assert read(norms * [10, 10, 1]).word == "healthy"


def test_signs_of_vanishing_are_kept_where_another_word_is_stronger() -> None:
    exploded = read([1.0] * 20 + [1e6] + [0.0] * 500)
    assert (exploded.word, exploded.vanishing) == ("exploding", True)


# Edges.


@pytest.mark.parametrize("steps", [1, 2, 19])
def test_few_steps_tell_no_trend(steps: int) -> None:
    diagnosis = read(np.full((steps, 3), [1e-9, 1e-9, 1.0]))
    assert (diagnosis.word, diagnosis.steps) == ("healthy", steps)
    assert all(math.isnan(figure) for figure in (diagnosis.norm_ratio, diagnosis.reach, diagnosis.loss_change))


@pytest.mark.parametrize("norms", [[INF], [NAN], [NAN, INF, INF]])
def test_nothing_finite(norms: list[float]) -> None:
    diagnosis = read(norms, [NAN] * len(norms))
    assert (diagnosis.word, len(diagnosis.spikes), diagnosis.last_sane) == ("exploding", len(norms), None)
    assert (diagnosis.leading_variable, diagnosis.largest_step) == (None, 0)
    assert all(math.isnan(value) for value in (diagnosis.median, diagnosis.percentile_99, diagnosis.largest))
    assert diagnosis.spikes[0].message == "gradient not finite at step 1, in lstm/kernel"


def test_zero_norms_have_no_leading_variable() -> None:
    diagnosis = read(np.zeros((30, 3)))
    assert (diagnosis.median, diagnosis.largest, diagnosis.leading_variable) == (0, 0, None)
    assert math.isnan(diagnosis.leading_share)


def test_nothing_read_yet() -> None:
    diagnosis = Detector(VARIABLES).diagnosis()
    assert (diagnosis.word, diagnosis.steps, diagnosis.clipped_share) == ("healthy", 0, 0)


def test_figures_leave_out_what_is_not_finite() -> None:
    diagnosis = read([*range(1, 101), INF, NAN])
    assert (diagnosis.median, diagnosis.percentile_99) == (50.5, pytest.approx(99.01))
    assert (diagnosis.largest, diagnosis.largest_step) == (100, 100)


def test_overflow_names_step_and_variables_and_the_last_sane_step_stands_before() -> None:
    norms = np.full((60, 3), 1.0)
    norms[40], norms[42], norms[45:] = [90, 1, 1], [1, NAN, INF], NAN
    diagnosis = read(norms, cuts=[41, 43])
    assert diagnosis.overflow is not None
    assert (diagnosis.overflow.step, diagnosis.overflow.variables) == (43, ("lstm/bias", "dense/kernel"))
    assert diagnosis.last_sane == (45, pytest.approx(math.sqrt(3)))
    assert [spike.step for spike in diagnosis.spikes] == [41, 43, *range(46, 61)]
    assert diagnosis.spikes[1].variable == "lstm/bias"  # the first that is not finite
    assert diagnosis.word == "exploding"


def test_clipped_and_cut_shares_by_hand() -> None:
    norms, applied = [4.0, 2.0, 1.0, INF, NAN], [1.0, 1.0, 1.0, 1.0, NAN]
    diagnosis = read(norms, applied=applied, clipped=[True, True, False, True, True])
    assert diagnosis.clipped_share == pytest.approx(4 / 5)
    assert diagnosis.cut_share == pytest.approx((3 / 4 + 1 / 2) / 2)  # of an endless norm no share can be told
    assert math.isnan(read(norms, applied=applied).cut_share)


def test_rounding_cuts_nothing_off() -> None:
    assert read([1.0] * 5, applied=[1.000001] * 5, clipped=[True] * 5).cut_share == 0


def test_the_leading_variable_by_hand() -> None:
    diagnosis = read([[3.0, 0.0, 4.0], [6.0, 0.0, 8.0], [INF, 0, 1], [0, 0, 0]])
    assert (diagnosis.leading_variable, diagnosis.leading_share) == ("dense/kernel", pytest.approx(16 / 25))


def test_what_was_read_is_not_kept_alive() -> None:
    """A view of a table would keep the whole file in memory."""
    table = np.ones((50, 4))
    detector = Detector(VARIABLES)
    detector.update(table[:, 0], table[:, 1:], table[:, 0], np.zeros(50, bool))
    known = repr(detector.diagnosis())
    table[:] = 1e9
    assert repr(detector.diagnosis()) == known
    held = weakref.ref(table)
    del table
    assert held() is None


# Each word, from real training.


def trained(chosen: Config, path: Path, **options: Any) -> Diagnosis:
    outcome, _, _ = run(chosen, path, **options)
    assert outcome.health is not None
    return outcome.health


def test_a_quiet_run_is_healthy(tmp_path: Path) -> None:
    diagnosis = trained(small(LOW, "training.epochs=1", "training.steps_per_epoch=60"), tmp_path)
    assert (diagnosis.word, diagnosis.steps) == ("healthy", 60)
    assert diagnosis.leading_variable in engine_for(small(LOW)).variables


def test_the_unclipped_relu_network_diverges_and_was_warned_of(tmp_path: Path) -> None:
    outcome, _, seen = run(loading.load("explode/none", ["data.subset=sample", "training.seed=7", "engine.jit=false"]), tmp_path)
    diagnosis = outcome.health
    assert diagnosis is not None
    assert outcome.divergence is not None
    assert (diagnosis.word, diagnosis.steps) == ("diverged", outcome.divergence.step)
    assert diagnosis.first_spike == seen[-1].warnings[0]
    assert diagnosis.first_explosion == seen[-1].warnings[-1]
    assert diagnosis.last_sane is not None
    assert diagnosis.last_sane[0] < diagnosis.steps


def test_clipping_leaves_spikes_that_do_no_harm(tmp_path: Path) -> None:
    """The same network, clipped: the gradient before clipping still leaps."""
    chosen = loading.load(
        "explode/clipnorm", latest(*SMALL, "training.epochs=1", "training.steps_per_epoch=120", "engine.jit=false")
    )
    diagnosis = trained(chosen, tmp_path)
    assert diagnosis.word == "spiking"
    assert diagnosis.clipped_share > 0.5
    assert 0 < diagnosis.cut_share < 1


def test_an_overflow_without_divergence_explodes(tmp_path: Path) -> None:
    chosen = small(*OVERFLOWING, *UNCOMPILED["tensorflow"])
    outcome, _, _ = run(chosen, tmp_path, start={**start_weights(chosen), **AMPLIFYING})
    assert outcome.health is not None
    assert outcome.status == "complete"
    assert outcome.health.word == "exploding"
    assert outcome.health.overflow is not None
    assert outcome.health.overflow.step == outcome.first_overflow
    assert "simple_rnn/kernel" in outcome.health.overflow.variables


def test_dead_units_vanish(tmp_path: Path) -> None:
    """Biases far below zero keep every ReLU shut: only the output layer's bias can learn."""
    chosen = loading.load("explode/none", latest(*SMALL, "training.epochs=1", "training.steps_per_epoch=40", "engine.jit=false"))
    start = start_weights(chosen)
    diagnosis = trained(chosen, tmp_path, start={**start, "simple_rnn/bias": start["simple_rnn/bias"] - 100})
    assert (diagnosis.word, diagnosis.reach, diagnosis.leading_variable) == ("vanishing", 0, "dense/bias")
