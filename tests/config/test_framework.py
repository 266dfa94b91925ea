"""What a framework is known by: its two files and nothing else, tried with the one that docs/extending.md adds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from extended import files_of, told, with_files
from pydantic import ValidationError

from gradclip_cli.config.frameworks import DEFAULT_FRAMEWORK, FRAMEWORKS
from gradclip_cli.config.schema import Engine


def test_the_default_stands_first() -> None:
    first, *others = FRAMEWORKS
    assert first == Engine().framework == DEFAULT_FRAMEWORK == "tensorflow"
    assert others == sorted(others)


def test_settings_that_belong_to_a_framework_are_settings() -> None:
    settings = set(Engine.model_fields) - {"framework"}
    for name, framework in FRAMEWORKS.items():
        assert set(framework.settings) <= settings, name
        assert set(framework.instead) <= settings - set(framework.settings), name


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"framework": "pytorch", "jit": False}, "jit belongs to tensorflow.*; pytorch compiles nothing"),
        ({"framework": "tensorflow", "device": "cpu"}, "device belongs to .*pytorch; tensorflow takes a GPU that it sees"),
    ],
)
def test_another_frameworks_setting_is_refused(section: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Engine.model_validate(section)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_each_can_be_read_first(name: str) -> None:
    """The schema reads these files, so they can't wait for the schema."""
    subprocess.run([sys.executable, "-c", f"import gradclip_cli.config.frameworks.{name}"], check=True, capture_output=True)


# A third one.


@pytest.fixture(scope="module")
def with_a_third(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the files that docs/extending.md writes for a framework, and no other change."""
    files = files_of("A framework")
    assert list(files) == ["gradclip_cli/config/frameworks/jax.py", "gradclip_cli/engines/jax.py"]
    checkout = with_files(tmp_path_factory.mktemp("checkout"), files)
    (checkout / "jax.py").touch()  # so that it counts as installed
    return checkout


REPRODUCE = ("reproduce", "--seeds", "10", "--jobs", "2", "--dry-run", "--framework")


def run_with(*settings: str) -> list[str]:
    options = [part for setting in ("engine.framework=jax", "data.subset=sample", *settings) for part in ("--set", setting)]
    return ["run", "none", *options]


def test_a_third_is_in_the_schema(with_a_third: Path) -> None:
    schema = told(with_a_third, "schema")
    assert '"enum": [ "tensorflow", "jax", "pytorch" ]' in schema
    assert (
        "Framework that trains: tensorflow (Keras), or jax, where it is installed, or pytorch, where it is installed." in schema
    )
    assert "With tensorflow and jax: compile the training loop with XLA" in schema


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["optimizer={name: ftrl}"], "optimizer.name: ftrl is not written yet; with jax: sgd, adam"),
        (["engine.device=cpu"], "engine: device belongs to pytorch; jax takes the accelerator that it sees"),
        (["engine.jit=false"], "the JAX engine is only a sketch"),
    ],
)
def test_a_third_is_asked(settings: list[str], expected: str, with_a_third: Path) -> None:
    assert expected in told(with_a_third, *run_with(*settings))


@pytest.mark.slow
def test_a_third_reproduces_at_its_own_pace(with_a_third: Path) -> None:
    assert "[tensorflow|jax|pytorch]" in told(with_a_third, "reproduce", "--help")
    times = [
        int(found[1])
        for framework in ("tensorflow", "jax")
        if (found := re.search(r"about (\d+) .*minutes", told(with_a_third, *REPRODUCE, framework)))
    ]
    assert times[1] > 3 * times[0]
