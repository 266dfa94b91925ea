"""A comparison as one file: everything it shows stands in it, and what runs in it may be no other script than its own."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from xml.etree.ElementTree import Element

from gradclip_cli import __version__
from gradclip_cli.errors import StoreError
from gradclip_cli.evidence import figures
from gradclip_cli.evidence.comparison import Comparison, with_gradients
from gradclip_cli.files import opened, unwritable, write_atomically
from gradclip_cli.pages import interactive, looks, sections, steps
from gradclip_cli.pages.answer import answer, badges, title
from gradclip_cli.pages.elements import code, document, element
from gradclip_cli.pages.pictures import differences_picture, panel_pictures
from gradclip_cli.pages.provenance import provenance
from gradclip_cli.pages.to_copy import to_copy
from gradclip_cli.pages.words import glossary

GENERATOR = "gradclip"


PLAIN = ("page.js", "tables.js", "looks.js", "twins.js")
"""The scripts that every page has, joined into one."""
LIVE = ("live.js", "live_pairs.js", "live_steps.js", "live_start.js")
"""Those that draw with Bokeh."""


def page(compared: Comparison) -> str:
    """The page of a comparison; the same runs give the same bytes."""
    compared = compared if compared.gradients else with_gradients(compared)
    panels, traced = figures.panels(compared), steps.traces(compared)
    is_live = interactive.is_installed()
    parts = [
        *(_of_verdicts(compared) if compared.others else []),
        sections.what_was_trained(compared),
        sections.runs(compared),
        sections.curves(panels, panel_pictures(panels), interactive.thinned(panels) if is_live else ""),
        *([steps.step_by_step(traced, steps.stored(compared))] if traced else []),
        sections.to_mind(compared),
        to_copy(compared),
        provenance(compared),
    ]
    held = {"looks": looks.data(compared)} if compared.others else {}
    held |= {"live": interactive.data(compared, panels, traced)} if is_live else {}
    body = [_header(compared, parts), element("main", *parts), element("footer", glossary())]
    return whole(title(compared), body, held, live=is_live)


def whole(heading: str, body: Sequence[Element], held: Mapping[str, str], *, live: bool) -> str:
    """A page of any kind with its scripts; `held` is what they read, as JSON by id, and `live` says whether some draw."""
    scripts = [own_scripts(PLAIN), *([interactive.script(), own_scripts(LIVE)] if live else [])]
    data = [code("script", content, id=name, type="application/json") for name, content in held.items()]
    return document(_head(heading, scripts), [*body, *data, *(code("script", script) for script in scripts)])


def own_scripts(names: Sequence[str]) -> str:
    """These scripts of ours as one."""
    return "\n".join(['"use strict";', *map(_own, names)])


def _of_verdicts(compared: Comparison) -> list[Element]:
    return [sections.verdicts(compared), sections.differences(compared, differences_picture(compared))]


def _own(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _head(heading: str, scripts: Sequence[str]) -> list[Element]:
    return [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(scripts)),
        element("meta", name="generator", content=f"{GENERATOR} {__version__}"),
        element("title", f"{heading} · gradclip"),
        code("style", _own("page.css")),
    ]


def _policy(scripts: Iterable[str]) -> str:
    """What the browser lets the page do: run these scripts, show what stands in it, and ask no host for anything."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts)
    allowed = {"default-src": "'none'", "img-src": "data:", "style-src": "'unsafe-inline'", "script-src": hashes}
    return "; ".join(f"{what} {where}" for what, where in {**allowed, "base-uri": "'none'", "form-action": "'none'"}.items())


def _header(compared: Comparison, parts: Sequence[Element]) -> Element:
    first, *others = answer(compared)
    links = [element("li", element("a", part[0].text or "", href=f"#{part.attrib['id']}")) for part in parts]
    return element(
        "header",
        element("h1", title(compared)),
        element("p", first, class_="answer"),
        *(element("p", sentence) for sentence in others),
        badges(compared),
        element("nav", element("ul", *links), aria_label="On this page"),
    )


def write(compared: Comparison, path: Path) -> None:
    """Write a comparison's page. Raises StoreError where that can't be, or where a file stands there that is no such page."""
    require_ours(path)
    content = page(compared)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise unwritable(path, error, "--output") from None


def require_ours(path: Path) -> None:
    """Raises StoreError where something stands at a path that is not a page of gradclip's: it is not written over."""
    if not os.path.lexists(path):
        return
    with opened(path) as file:
        if f'name="generator" content="{GENERATOR} '.encode() not in file.read(MOST_HEAD):
            raise StoreError(f"{path}: is there already, and no page of gradclip's; name another file with --output")


MOST_HEAD = 4096
"""Bytes within which a page says what wrote it."""
