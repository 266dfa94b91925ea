"""What a result may depend on besides its config: versions, git commit and machine."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from gradclip_cli import __version__
from gradclip_cli.arrays import Array
from gradclip_cli.config.frameworks import FRAMEWORKS


def provenance(framework: str) -> dict[str, Any]:
    """Versions, git commit (of a checkout, else None) and machine: what a result may depend on besides its config.

    Of a framework that nobody knows before a script tells, without its packages' versions.
    """
    return provenance_of(FRAMEWORKS[framework].distributions if framework in FRAMEWORKS else ())


@functools.cache
def provenance_of(packages: tuple[str, ...]) -> dict[str, Any]:
    """The same of a result that these packages made."""
    versions = {"python": platform.python_version(), "gradclip-cli": __version__}  # of the code that runs, installed or not
    for package in (*packages, "numpy"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    machine = {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()}
    return {"versions": versions, "git_commit": _git_commit(), "machine": machine}


def weights_sha256(weights: Iterable[tuple[str, Array]]) -> str:
    """Of named arrays, in order: by which runs tell whether they began alike."""
    digest = hashlib.sha256()
    for name, value in weights:
        digest.update(f"{name} {value.dtype} {value.shape}\n".encode() + np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _git_commit() -> str | None:
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return answer.stdout.strip() or None
