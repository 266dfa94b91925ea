"""The small examples to begin with that travel with gradclip, a folder a framework; one is written where it is wanted."""

from __future__ import annotations

import os
from pathlib import Path

from gradclip_cli.errors import ConflictError
from gradclip_cli.files import shipped_folder, writing

INSTEAD = "name another folder, or move away what is there"


def example_files(framework: str) -> list[Path]:
    """The files of a framework's example, in the order of their names."""
    return sorted(path for path in (shipped_folder("templates") / framework).iterdir() if path.is_file())


def write_example(framework: str, folder: Path) -> list[Path]:
    """Write a framework's example into a folder, which is made where it is missing; returns the files written.

    Raises ConflictError, before anything is written, where a file of one of these names is there, and StoreError where the
    folder can't be written.
    """
    files = {folder / template.name: template.read_bytes() for template in example_files(framework)}
    if there := [str(path) for path in files if os.path.lexists(path)]:
        raise ConflictError(f"{', '.join(there)}: {'is' if len(there) == 1 else 'are'} there already", INSTEAD)
    for path, content in files.items():
        with writing(path):
            folder.mkdir(parents=True, exist_ok=True)
            with open(path, "xb") as file:
                file.write(content)
    return list(files)
