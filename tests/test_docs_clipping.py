"""docs/clipping.md draws what the rules do and what a run did: its pictures are of the rules and of the kept figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import make_fall_picture
import make_rules_picture
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from gradclip_cli.arrays import FloatArray
from gradclip_cli.config import loading
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.plots import save

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "clipping.md").read_text()
EXAMPLES = {f"{example.rule.mode}, {len(example.shapes)}": example for example in make_rules_picture.examples()}
LONG = make_rules_picture.circle(2.7, 16, 0.3)
SHORT = make_rules_picture.circle(0.2, 16, 0.3)


def turned(before: FloatArray, after: FloatArray) -> FloatArray:
    """By what angle each gradient's direction changed, (N,)."""
    return np.abs(np.angle((after @ [1, 1j]) / (before @ [1, 1j])))


def test_each_rule_has_a_panel() -> None:
    assert {example.rule.mode for example in EXAMPLES.values()} == set(RULES)
    assert "Twelve panels, a rule each" in PAGE
    assert len(EXAMPLES) == 12


@pytest.mark.parametrize("name", ["clipnorm, 1", "global_clipnorm, 2", "normalize, 2", "autoclip, 2", "median, 2", "zclip, 2"])
def test_a_circle_keeps_directions(name: str) -> None:
    after = EXAMPLES[name].clipped(LONG)
    assert turned(LONG, after).max() < 1e-6
    assert np.ptp(np.linalg.norm(after, axis=1)) < 1e-6
    assert np.linalg.norm(after, axis=1).max() < 2.5


@pytest.mark.parametrize("name", ["clipvalue, 1", "clipnorm, 2", "agc, 1", "adagc, 2"])
def test_a_box_changes_them(name: str) -> None:
    after = EXAMPLES[name].clipped(LONG)
    assert turned(LONG, after).max() > 0.1
    assert (np.abs(after) <= np.abs(after).max(axis=0) + 1e-6).all()
    corner = EXAMPLES[name].clipped(np.array([[30.0, 30.0], [30.0, 40.0]]))
    assert np.allclose(corner[0], corner[1])


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - {"normalize, 2"}))
def test_short_gradients_stay_but_for_normalize(name: str) -> None:
    assert np.allclose(EXAMPLES[name].clipped(SHORT), SHORT)
    assert np.linalg.norm(EXAMPLES["normalize, 2"].clipped(SHORT), axis=1) == pytest.approx(1)


def test_rules_that_look_back_do_what_the_page_says() -> None:
    at = {name: EXAMPLES[name].clipped(np.array([[0.0, 1.3], [0.0, 1.7], [0.0, 2.7]]))[:, 1] for name in EXAMPLES}
    assert at["autoclip, 2"][0] < 0.8  # an ordinary step, clipped
    assert at["median, 2"][:2] == pytest.approx([1.3, 1.7])
    assert at["zclip, 2"][2] < at["zclip, 2"][1] < 1.7
    assert at["skip, 2"] == pytest.approx([1.3, 1.7, 0])
    assert at["clipnorm, 1"] == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    "maker", [pytest.param(make_rules_picture, id="rules", marks=pytest.mark.slow), pytest.param(make_fall_picture, id="fall")]
)
def test_the_picture_is_what_its_script_draws(maker: object, tmp_path: Path) -> None:
    again = tmp_path / "again.png"
    save(maker.figure(), [again])  # type: ignore[attr-defined]
    kept = maker.PICTURE  # type: ignore[attr-defined]
    assert f"]({kept.relative_to(ROOT / 'docs')})" in PAGE
    drawn, old = imread(again), imread(kept)
    assert drawn.shape == old.shape
    assert np.abs(drawn - old).mean() < 0.005  # a library's next release may smooth an edge otherwise


@pytest.fixture(scope="module")
def falls() -> pd.DataFrame:
    return pd.read_csv(make_fall_picture.FALLS)


def each_kept() -> Iterator[tuple[str, pd.DataFrame]]:
    for arm, steps in pd.read_csv(make_fall_picture.STEPS).groupby("arm"):
        yield str(arm), steps.reset_index(drop=True)


def test_what_is_kept_of_the_runs_agrees(falls: pd.DataFrame) -> None:
    seed = make_fall_picture.deepest(falls)["seed"]
    assert f"The picture is of seed {seed};" in PAGE
    for arm, steps in each_kept():
        [told] = falls[(falls["arm"] == arm) & (falls["seed"] == seed)].to_dict("records")
        found = make_fall_picture.fall_of(steps)
        assert {key: found[key] for key in ("solved_at", "falls", "deepest_at")} == {
            key: told[key] for key in ("solved_at", "falls", "deepest_at")
        }
    assert sorted(falls["seed"].unique()) == list(range(10))
    assert falls["arm"].value_counts().to_dict() == {"unclipped": 10, "clipped": 10}


def test_clipping_kept_the_norm_at_its_threshold() -> None:
    kept = dict(each_kept())
    assert kept["clipped"]["applied_norm"].max() == pytest.approx(1, abs=1e-5)
    assert kept["clipped"]["grad_norm"].max() > 10
    assert (kept["unclipped"]["applied_norm"] == kept["unclipped"]["grad_norm"]).all()


def test_a_fall_is_seen_once_and_an_unsolved_run_has_none() -> None:
    right = np.full(1000, 32)
    right[600:650] = 8
    found = make_fall_picture.fall_of(pd.DataFrame({"step": np.arange(1, 1001), "correct": right}))
    assert found == {"solved_at": 100, "falls": 1, "deepest_at": 600, "depth": 0.75, "ends_at": 0.925}
    never = make_fall_picture.fall_of(pd.DataFrame({"step": np.arange(1, 1001), "correct": np.full(1000, 8)}))
    assert (never["solved_at"], never["falls"], never["deepest_at"]) == (-1, 0, -1)


def test_the_twin_differs_in_its_clipping_alone() -> None:
    unclipped, clipped = (loading.load(str(make_fall_picture.FOLDER / f"{arm}.yaml")) for arm in make_fall_picture.ARMS)
    assert clipped.clipping.label == "global_clipnorm 1"
    assert clipped.model_copy(update={"clipping": unclipped.clipping, "name": unclipped.name}) == unclipped
