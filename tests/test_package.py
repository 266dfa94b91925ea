"""What is released: the sdist and the wheel that it builds carry all that the command needs, and it works without a checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from conftest import options

from gradclip_cli import __version__
from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.config.templates import example_files

CHECKOUT = Path(__file__).parent.parent
PACKAGED = {"gradclip_cli": ".", "configs": "configs", "examples": "examples", "templates": "templates"}
"""Folders of the checkout, each with its place in the installed package."""
SHORT = ("data.subset=sample", "training.epochs=1", "training.steps_per_epoch=4", "engine.jit=false")

Gradclip = Callable[..., subprocess.CompletedProcess[str]]


def built(what: str, source: Path, folder: Path) -> Path:
    """The sdist or the wheel of a source tree, built into a folder."""
    build = [sys.executable, "-m", "build", f"--{what}", "--outdir", str(folder), str(source)]
    ended = subprocess.run(build, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (made,) = folder.glob("*.tar.gz" if what == "sdist" else "*.whl")
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("sdist", CHECKOUT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it is released: built from the sdist."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    return built("wheel", source, tmp_path_factory.mktemp("wheel"))


def contents(wheel: Path) -> Mapping[str, bytes]:
    """The files of a wheel; not the list of them, whose order is nobody's concern."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("RECORD")}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Gradclip:
    """The command of an environment that has the wheel and what it depends on, in a folder and a home of its own.

    The packages that it depends on are those of the environment that tests; the wheel alone is installed.
    """
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    for name in ("home", "elsewhere"):
        (folder / name).mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GRADCLIP_", "XDG_", "PYTHON"))}

    def gradclip(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python.with_name("gradclip"), *arguments],
            cwd=folder / "elsewhere",
            env={**kept, "HOME": str(folder / "home")},
            capture_output=True,
            text=True,
            check=False,
        )

    return gradclip


@pytest.mark.slow
def test_the_sdist_builds_the_wheel_that_the_checkout_builds(wheel: Path, tmp_path: Path) -> None:
    assert contents(wheel) == contents(built("wheel", CHECKOUT, tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(not (CHECKOUT / ".git").exists(), reason="there is no checkout to hold it against")
def test_the_wheel_has_all_files_of_the_package(wheel: Path) -> None:
    names = contents(wheel)
    for folder, place in PACKAGED.items():
        listed = subprocess.run(["git", "ls-files", folder], cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout
        files = [Path(name).relative_to(folder) for name in listed.splitlines()]
        assert files
        assert {(Path("gradclip_cli") / place / file).as_posix() for file in files} <= set(names), folder
    for needed in ("configs/schema.json", "pages/page.css", "pages/page.js", "problems/samples/fashion_mnist/LICENSE"):
        assert f"gradclip_cli/{needed}" in names
    templates = [
        f"gradclip_cli/templates/{framework}/{path.name}" for framework in FRAMEWORKS for path in example_files(framework)
    ]
    assert set(templates) <= set(names)


@pytest.mark.slow
def test_the_wheel_brings_no_runs_and_no_tests(wheel: Path) -> None:
    names = "\n".join(contents(wheel))
    assert not re.search(r"seed-\d|runs\.tar\.xz|__pycache__|\btests/|^results/", names, flags=re.MULTILINE)


@pytest.mark.slow
def test_shipped_configs_and_templates_are_found(installed: Gradclip) -> None:
    assert installed("--version").stdout == f"gradclip, version {__version__}\n"
    planned = installed("run", "clipvalue", "adam/clipnorm", "--dry-run")
    assert planned.stdout.count("train") == 2, planned.stderr
    written = installed("init", "demo")
    assert written.returncode == 0, written.stderr
    checked = installed("check", "none", "--set", "data.subset=sample")
    assert checked.returncode == 0, checked.stderr


@pytest.mark.slow
@pytest.mark.trains
def test_it_trains_compares_and_reports(installed: Gradclip) -> None:
    trained = installed("run", "none", "clipvalue", "--seeds", "2", *options(*SHORT))
    assert trained.returncode == 0, trained.stderr
    compared = installed("compare")
    assert compared.returncode == 0, compared.stderr
    assert compared.stdout.endswith(" 4 runs, all complete.\n")
    assert installed("compare", "--fail-if", "diverged").returncode == 0
    reported = installed("report", "--output", "report.html")
    assert reported.stderr.endswith("wrote report.html\n")
