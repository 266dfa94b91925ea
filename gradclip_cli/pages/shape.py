"""What all pages are: one file in which everything stands that it shows, and in which no other script than its own may run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from xml.etree.ElementTree import Element

from gradclip_cli import __version__, files
from gradclip_cli.files import unwritable, write_atomically
from gradclip_cli.pages import interactive
from gradclip_cli.pages.elements import code, document, element
from gradclip_cli.pages.words import glossary

GENERATOR = "gradclip"
DRAWN = "live"
"""The id of what Bokeh draws."""
PLAIN = ("page.js", "tables.js", "looks.js", "twins.js")
"""The scripts that every page has, joined into one."""
LIVE = ("live.js", "live_pairs.js", "live_steps.js", "live_start.js")
"""Those that draw with Bokeh."""
MOST_HEAD = 4096
"""Bytes within which a page says what wrote it."""


@dataclass(frozen=True)
class Page:
    """A page of any kind: what it is about, its answer, and its sections, to each of which a link leads."""

    title: str
    answer: Sequence[str]
    """Sentences, the most telling one first."""
    sections: Sequence[Element]
    beneath: Sequence[Element] = ()
    """What stands beneath the answer, such as a verdict for each arm."""
    held: Mapping[str, str] = field(default_factory=dict)
    """What the page's scripts read, as JSON by id; with `DRAWN`, which `interactive` makes, Bokeh's script is there too."""

    def html(self) -> str:
        """The file's content; the same page gives the same bytes."""
        scripts = [own_scripts(PLAIN), *([interactive.script(), own_scripts(LIVE)] if DRAWN in self.held else [])]
        body = [self._header(), element("main", *self.sections), element("footer", glossary())]
        data = [code("script", content, id=name, type="application/json") for name, content in self.held.items()]
        return document(_head(self.title, scripts), [*body, *data, *(code("script", script) for script in scripts)])

    def _header(self) -> Element:
        first, *others = self.answer
        links = [element("li", element("a", part[0].text or "", href=f"#{part.attrib['id']}")) for part in self.sections]
        return element(
            "header",
            element("h1", self.title),
            element("p", first, class_="answer"),
            *(element("p", sentence) for sentence in others),
            *self.beneath,
            element("nav", element("ul", *links), aria_label="On this page"),
        )


def own_scripts(names: Sequence[str]) -> str:
    """These scripts of ours as one."""
    return "\n".join(['"use strict";', *map(_own, names)])


def _own(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _head(heading: str, scripts: Sequence[str]) -> list[Element]:
    return [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(scripts)),
        element("meta", name="generator", content=f"{GENERATOR} {__version__}"),
        element("title", f"{heading} · gradclip"),
        code("style", _own("page.css") + _own("maps.css")),
    ]


def _policy(scripts: Iterable[str]) -> str:
    """What the browser lets the page do: run these scripts, show what stands in it, and ask no host for anything."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts)
    allowed = {"default-src": "'none'", "img-src": "data:", "style-src": "'unsafe-inline'", "script-src": hashes}
    return "; ".join(f"{what} {where}" for what, where in {**allowed, "base-uri": "'none'", "form-action": "'none'"}.items())


def save(content: str, path: Path) -> None:
    """Write a page. Raises StoreError where that can't be, or where a file stands there that is no page of gradclip's."""
    require_ours(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise unwritable(path, error, "--output") from None


def require_ours(path: Path) -> None:
    """Raises StoreError where something stands at a path that is not a page of gradclip's: it is not written over."""
    files.require_ours(path, f'name="generator" content="{GENERATOR} '.encode(), "page", "--output", MOST_HEAD)
