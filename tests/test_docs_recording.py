"""docs/recording.md says what recorders and frameworks do: its code runs, its tables are fresh, and its sentences hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import skip_without

skip_without("torch", "accelerate", "lightning", "transformers")

import torch  # noqa: E402
import yaml  # noqa: E402
from make_recording import DRAWN, PAGE, PICTURE, TABLES  # noqa: E402
from recording.costs import costs_section  # noqa: E402
from recording.demos import DEMOS, norms_row, pieces, shown, train  # noqa: E402
from recording.logged import AFTER, BEFORE, CASES, Case, Found, cells, versions, which  # noqa: E402

from gradclip_cli import record  # noqa: E402
from gradclip_cli.recorder.keras_optimizer import HOOKS  # noqa: E402

pytestmark = [pytest.mark.trains, pytest.mark.filterwarnings("ignore")]
TEXT = PAGE.read_text(encoding="utf-8")
SAMPLES = 64
# Of Hugging Face's Trainer one that clips and one that doesn't are tried in `make test`, the others left to `make test-all`.
RARE = ("`max_grad_norm` not said", "`max_grad_norm=1`, a log for both steps")
TRIED = [pytest.param(case, marks=pytest.mark.slow if case.call.startswith(RARE) else ()) for case in CASES]


def told(name: str) -> str:
    """What the page has between the marks of a name."""
    return TEXT.split(f"<!-- {name} -->\n\n")[1].split("\n\n<!-- end -->")[0]


@pytest.mark.parametrize(
    "arm",
    [
        pytest.param(arm, marks=[] if arm == "pytorch" else pytest.mark.slow)
        for arm in ("keras", "pytorch", "lightning", "transformers")
    ],
)
def test_the_code_runs_as_it_stands_and_show_says_of_it_what_the_page_says(arm: str, tmp_path: Path) -> None:
    """With fewer samples: so the figures are others, and all else is the same."""
    train(arm, pieces(TEXT)[arm], tmp_path, SAMPLES)
    now, page = shown(arm, tmp_path).splitlines(), told(arm).strip("`\n").splitlines()
    assert page[0] == f"$ gradclip show {arm}"
    assert [line.split() for line in now[:3]] == [line.split() for line in page[1:4]]
    assert [line.split(" ")[0] for line in now] == [line.split(" ")[0] for line in page[1:]]
    assert norms_row(arm, tmp_path / "results" / arm / "seed-0")[1] == " ".join(page[2].split()[-2:])


def test_each_framework_has_its_code() -> None:
    assert list(pieces(TEXT)) == list(DEMOS)


@pytest.mark.parametrize("case", TRIED, ids=lambda case: f"{case.framework} {case.call}")
def test_frameworks_log_what_the_page_says(case: Case) -> None:
    assert f"| {case.framework} | {case.call} | {' | '.join(cells(case))} |" in told("logged")


def test_the_versions_are_those_that_were_tried() -> None:
    assert f"With {versions()}." in told("logged")


def test_the_page_has_no_other_tables() -> None:
    assert sorted(re.findall(r"<!-- (\w+) -->", TEXT.replace("<!-- end -->", ""))) == sorted([*TABLES, *DEMOS, "norms"])
    assert not re.search(r"^\|", re.sub(r"<!-- \w+ -->.*?<!-- end -->", "", TEXT, flags=re.DOTALL), flags=re.MULTILINE)


def test_files_that_the_page_links_to_exist() -> None:
    for link in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (PAGE.parent / link).exists(), link


def test_the_picture_is_of_the_run_that_the_page_names() -> None:
    assert PICTURE.is_relative_to(PAGE.parent)
    assert f"]({PICTURE.relative_to(PAGE.parent)})" in TEXT
    assert DRAWN == "pytorch"
    assert "here of the PyTorch run below" in TEXT


def test_a_logged_norm_that_is_neither_before_nor_after_is_no_cell() -> None:
    assert which(AFTER, AFTER) == "**after** clipping"
    assert which(BEFORE, BEFORE) == "the same: nothing was clipped"
    with pytest.raises(ValueError, match="neither"):
        which([7.5], AFTER)


def test_a_recorder_that_tells_other_norms_is_no_row() -> None:
    swapped = Found({}, {"grad_norm": AFTER, "applied_norm": BEFORE})
    with pytest.raises(ValueError, match="a recorder told"):
        cells(Case("Nobody", "nothing", lambda: swapped))


def test_the_joint_norm_may_be_above_the_threshold_of_clipnorm_and_of_no_other_rule() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in told("norms").splitlines()[2:]]
    assert [row[0] for row in rows] == list(DEMOS)
    for _, rule, before, after, over, acted in rows:
        mode, threshold = rule.split()
        assert float(before) > float(threshold)
        assert (float(after) > float(threshold)) == (over != acted) == (mode == "clipnorm")


def test_methods_of_keras_that_the_page_names_are_those_that_are_watched() -> None:
    assert re.findall(r"`(_\w+|apply)`", TEXT.split("relies on what is private")[1]) == list(HOOKS)


def test_what_a_tensors_own_hook_does_is_not_seen(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.register_hook(lambda gradient: gradient / 10)
    optimizer = torch.optim.SGD([weight], 0.1)
    with record(optimizer, tmp_path / "mine" / "seed-0"):
        (3 * weight).sum().backward()
        optimizer.step()
    config = yaml.safe_load((tmp_path / "mine" / "seed-0" / "config.yaml").read_text())
    assert config["clipping"]["mode"] == "none"


def test_accelerates_clipping_of_what_it_prepared_is_seen(tmp_path: Path) -> None:
    import accelerate

    accelerator, model = accelerate.Accelerator(cpu=True), torch.nn.Linear(2, 1)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 0.1))
    with record(optimizer, tmp_path / "mine" / "seed-0", model=model):
        accelerator.backward(model(torch.full((4, 2), 9.0)).sum())
        accelerator.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    assert norms_row("mine", tmp_path / "mine" / "seed-0")[1:] == ["global_clipnorm 0.5", "51.1", "0.5", "100.0%", "100.0%"]


def test_costs_are_told_once_they_are_measured(tmp_path: Path) -> None:
    path = tmp_path / "recorders.json"
    assert costs_section(path) == ""
    loop = {"loop": "a loop", "plain_ms": 4.0, "recorded_ms": 5.0, "every_10_ms": 4.1}
    path.write_text(json.dumps({"machine": "one core", "versions": "Keras 3", "loops": [loop]}))
    section = costs_section(path)
    assert section.startswith("## What recording costs\n\nMilliseconds a step, medians, on one core, with Keras 3. ")
    assert section.endswith("| a loop | 4 | 5 (+25%) | 4.1 (+2%) |")
