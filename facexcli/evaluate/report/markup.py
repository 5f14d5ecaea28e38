"""HTML that cannot be broken by what it shows: text is escaped unless it was made here."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_VOID = frozenset(("br", "hr", "img", "input", "link", "meta"))
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
"""Control characters and noncharacters, which HTML does not allow in text (WHATWG HTML, 13.1.4)."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | int | None


def element(name: str, /, *children: Child | Iterable[Child], **attributes: object) -> Markup:
    """`<name attributes>children</name>`. Strings are escaped, `Markup` is not, None is left out.

    Attributes are written as given, with a hyphen for each underscore but a last one (`class_`); True is an attribute
    without a value, False and None is none.
    """
    opening = "".join([name, *(_attribute(key, value) for key, value in attributes.items())])
    if name in _VOID:
        return Markup(f"<{opening}>")
    return Markup(f"<{opening}>{joined(*children)}</{name}>")


def joined(*children: Child | Iterable[Child]) -> Markup:
    """Children without an element around them."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, (str, int)):
            parts.append(html.escape(plain(str(child)), quote=False))
        elif child is not None:
            parts.append(joined(*child))
    return Markup("".join(parts))


def script_data(value: object) -> Markup:
    """JSON that can stand inside a `<script>` element: it has no character that could end it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def plain(text: str) -> str:
    """Text that can be written as UTF-8 and read by a browser: bytes of a file name that are no text are shown so."""
    written = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", written)


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.removesuffix("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(plain(str(value)))}"'
