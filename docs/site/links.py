"""Brings into the site what pages link to elsewhere in the project: README as the home page, reports, pictures, sources.

Pages link as files do on disk, so that they read alike in a checkout and in the site. Here each file outside docs/ that a page
names joins the site under its own path, and the page's link is turned towards it. A link to a folder keeps its words only.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files, InclusionLevel

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
HOME = "index.md"
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|#)([^)#\s]*)(#[^)\s]*)?\)")
"""A link or picture in Markdown: its mark, its words (a picture may be among them), its path, its anchor."""
IMAGE = re.compile(r'(<img src=")(?!https?:)([^"]*)')
FENCE = re.compile(r"(^ *```.*?^ *```$)", flags=re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->\n?", flags=re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add README, and then whatever a page links to, and what the pages among that link to."""
    files.append(_added("README.md", config))
    waiting = list(files.documentation_pages())
    while waiting:
        page = waiting.pop()
        text = page.content_string
        for path in [link[2] for link in LINK.findall(text)] + [image[1] for image in IMAGE.findall(text)]:
            place = _place(page, path)
            known = files.get_file_from_path(_in_site(place))
            if (ROOT / place).is_file() and (known is None or known.inclusion.is_excluded()):
                if known is not None:  # a script that a page names, among those that are none of the site's
                    files.remove(known)
                files.append(added := _added(place, config))
                waiting += [added] if added.is_documentation_page() else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the page's links towards the site's files, and leave out the comments from which parts of it were made."""

    def turned(link: re.Match[str]) -> str:
        mark, words, path, anchor = link.groups(default="")
        if path and (ROOT / _place(page.file, path)).is_dir():
            return words
        return f"{mark}[{words}]({reached(path) if path else ''}{anchor})"

    def reached(path: str) -> str:
        return posixpath.relpath(_in_site(_place(page.file, path)), posixpath.dirname(page.file.src_uri) or ".")

    def shown(image: re.Match[str]) -> str:
        return image[1] + reached(image[2])

    pieces = FENCE.split(COMMENT.sub("", markdown))
    return "".join(piece if number % 2 else IMAGE.sub(shown, LINK.sub(turned, piece)) for number, piece in enumerate(pieces))


def _place(file: File, path: str) -> str:
    """Where in the project a link of one of the site's pages leads."""
    folder = Path(file.abs_src_path or "").parent.relative_to(ROOT)
    return posixpath.normpath(posixpath.join(folder.as_posix(), path))


def _in_site(place: str) -> str:
    """Where in the site a file of the project stands."""
    return HOME if place == "README.md" else place.removeprefix("docs/")


def _added(place: str, config: MkDocsConfig) -> File:
    added = File.generated(config, _in_site(place), abs_src_path=os.fspath(ROOT / place))
    added.inclusion = InclusionLevel.INCLUDED  # a page names it, be it a script
    return added
