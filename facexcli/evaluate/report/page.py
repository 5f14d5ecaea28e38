"""One self-contained page: everything is inside of it, and it asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from itertools import count
from typing import TYPE_CHECKING

from facexcli import __version__
from facexcli.evaluate.report import sections, timelines
from facexcli.evaluate.report.markup import Markup, element, script_data

if TYPE_CHECKING:
    from facexcli.evaluate.report.content import Content


def page(content: Content) -> str:
    """The whole document, HTML with its style and script inside.

    Its content security policy allows that style, that script (by their hashes) and pictures that are inside the page;
    any request to anywhere is refused by the browser.
    """
    files = resources.files("facexcli.evaluate.report")
    style, script = ((files / name).read_text("utf-8") for name in ("page.css", "page.js"))
    numbers = count()
    people = timelines.people(content, numbers)
    speed = timelines.speed(content, numbers)
    data = {
        "timelines": [*people.data, *speed.data],
        "samples": [pair.frame_index for pair in content.pictures.samples],
    }
    parts = (
        ("frames", "Before and after", sections.frames(content)),
        ("people", "People", people.markup),
        ("doubts", "Frames to look at", sections.doubts(content)),
        ("speed", "Time and speed", speed.markup),
        ("warnings", "Warnings", sections.warnings(content)),
        ("details", "Details", sections.details(content)),
    )
    shown = [part for part in parts if part[2]]
    return "<!DOCTYPE html>\n" + element(
        "html",
        _head(content, style, script),
        element(
            "body",
            element("header", sections.head(content), _navigation(shown)),
            element("main", (
                element("section", element("h2", title, id=f"{name}-title"), markup, id=name,
                        aria_labelledby=f"{name}-title")
                for name, title, markup in shown
            )),
            element("footer", sections.foot(content)),
            element("script", script_data(data), type="application/json", id="data"),
            element("script", Markup(script)),
        ),
        lang="en",
    )  # fmt: skip


def _head(content: Content, style: str, script: str) -> Markup:
    policy = (
        "default-src 'none'; img-src data:; "
        f"style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="robots", content="noindex"),
        element("meta", name="generator", content=f"facex {__version__}"),
        element("title", f"{content.result.name}: report of a {content.task}"),
        element("style", Markup(style)),
    )


def _hash(text: str) -> str:
    """A source expression for exactly this text (W3C Content Security Policy Level 3, 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _navigation(parts: list[tuple[str, str, Markup]]) -> Markup:
    links = (element("li", element("a", title, href=f"#{name}")) for name, title, _ in parts)
    return element("nav", element("ul", links), aria_label="Parts of this page")
