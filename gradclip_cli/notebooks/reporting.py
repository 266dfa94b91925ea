"""A comparison's page from Python: `report` writes it, and a notebook shows the link to it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

from gradclip_cli.notebooks.comparing import Compared, compare
from gradclip_cli.notebooks.given import AnyPath, results_folder
from gradclip_cli.pages import page, shape
from gradclip_cli.pages.elements import element


@dataclass(frozen=True)
class Page:
    """A page that was written: a path, which `open`, `Path` and `webbrowser.open(str(page))` take, and in a notebook a link."""

    path: Path

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def _repr_html_(self) -> str:
        """A link where a notebook's server can reach the file: beneath the folder that it runs in."""
        shown = element("span", str(self))
        if self.path.resolve().is_relative_to(Path.cwd()):
            href = quote(self.path.resolve().relative_to(Path.cwd()).as_posix())
            shown = element("a", str(self), href=href, target="_blank")
        return ElementTree.tostring(element("p", shown), encoding="unicode", method="html")


def report(comparison: Compared | AnyPath = "results", path: AnyPath | None = None) -> Page:
    """Write a comparison as one HTML file, to read offline, to send and to keep, as `gradclip report` does.

    Args:
        comparison: What `compare` returned; or a folder of runs, whose arms are then all compared, which counts as a look.
        path: The page. Without, `report.html` where `gradclip compare` puts its files. Only a page of gradclip's is written over.

    Returns:
        The page's path, which a notebook shows as a link.

    Raises:
        StoreError: Where it can't be written, or something else stands there.
        ReportError: Where the folder's runs can't be compared.

    Example:
        >>> import gradclip_cli
        >>> print(gradclip_cli.report(gradclip_cli.compare("results", "none", "clipvalue"), "clipvalue.html"))
        clipvalue.html
    """
    place = None if path is None else Path(path).expanduser()
    if place is not None:
        shape.require_ours(place)
    compared = comparison if isinstance(comparison, Compared) else compare(results_folder(comparison))
    place = place or compared.folder / "report.html"
    page.write(compared.comparison, place)
    return Page(place)
