"""The wheel carries what the command needs: configs by name, schema, templates and sample, without a checkout around it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.config.templates import example_files

CHECKOUT = Path(__file__).parent.parent


@pytest.mark.slow
def test_shipped_configs_run_by_name_from_a_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(CHECKOUT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("gradclip_cli-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        names = archive.namelist()
    for needed in (
        "configs/none.yaml",
        "configs/adam/clipnorm.yaml",
        "configs/schema.json",
        "problems/samples/fashion_mnist/LICENSE",
        *(f"templates/{framework}/{path.name}" for framework in FRAMEWORKS for path in example_files(framework)),
    ):
        assert f"gradclip_cli/{needed}" in names
    command = [sys.executable, "-m", "gradclip_cli", "run", "clipvalue", "adam/clipnorm", "--dry-run"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert ended.stdout.count("train") == 2
    example = [sys.executable, "-m", "gradclip_cli", "init", "demo"]
    subprocess.run(example, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == ["README.md", "config.yaml", "model.py"]
    where = [sys.executable, "-c", "import gradclip_cli; print(gradclip_cli.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    assert str(tmp_path) in found
