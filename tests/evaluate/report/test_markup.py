"""Nothing that is shown can become a part of the page's own language."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from facexcli.evaluate.report.markup import Markup, element, joined, plain, script_data


@given(st.text())
def test_text_stays_text(text: str) -> None:
    shown = element("p", text, title=text)
    assert shown.startswith("<p title=")
    attribute, _, inside = shown.removeprefix('<p title="').removesuffix("</p>").partition('">')
    assert not {"<", ">", '"'} & set(attribute)
    assert not {"<", ">"} & set(inside)


def test_markup_is_kept_and_nothing_is_left_out() -> None:
    assert element("b", Markup("<i>x</i>"), None, ["&", 3]) == "<b><i>x</i>&amp;3</b>"
    assert joined() == ""


def test_attributes() -> None:
    assert element("input", class_="a b", aria_label='"', hidden=True, disabled=False, value=None, tabindex=0) == (
        '<input class="a b" aria-label="&quot;" hidden tabindex="0">'
    )


@given(st.text())
def test_data_cannot_end_its_script_and_comes_back(text: str) -> None:
    written = script_data({"name": text, "values": [1.5, None]})
    assert not {"<", ">", "&"} & set(written)
    assert json.loads(written) == {"name": text, "values": [1.5, None]}


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    name = b"clip\xff\x00.mp4".decode("utf-8", "surrogateescape")
    assert plain(name) == "clip\ufffd\ufffd.mp4"
    element("p", name).encode("utf-8")
