"""The document: whole, quiet, small, and deaf to what file names say."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import facexcli
from facexcli.evaluate.report.page import page
from facexcli.evaluate.report.targets import verdicts
from facexcli.evaluate.values import Metric
from facexcli.pipeline.inputs import InputFile
from facexcli.pipeline.plan import Plan

if TYPE_CHECKING:
    from conftest import MakeContent

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}&amp;\u202egpj.mp4'


class _Document(HTMLParser):
    """Elements, their attributes, and the text outside of style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.text = ""
        self.code: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "input", "br"):
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.inside.pop() == tag, "elements are nested as they should be"

    def handle_data(self, data: str) -> None:
        if self.inside and self.inside[-1] in self.code:
            self.code[self.inside[-1]].append(data)
        else:
            self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    def ids(self) -> list[str]:
        return [str(attributes["id"]) for _, attributes in self.elements if "id" in attributes]


def test_everything_is_told(make_content: MakeContent) -> None:
    content = make_content()
    read = _Document(page(content))
    assert not read.inside
    for words in (
        "out.mp4", "alice.jpg", "clip.mp4", "mesh", "300 frames", "98.4", "missed", "met", "Anna", "Bo",
        "the face flickers", "frames 40 to 51", "something was repaired", "a warning of the evaluation",
        "needs weights", "3.11", "21 November 2026", '"schema_version": 1',
    ):  # fmt: skip
        assert words in read.text, words
    assert read.count("input") == len(content.pictures.samples) == 8


def test_every_link_leads_somewhere_in_the_page(make_content: MakeContent) -> None:
    read = _Document(page(make_content()))
    ids = read.ids()
    assert len(set(ids)) == len(ids)
    links = [str(attributes["href"]) for _, attributes in read.elements if "href" in attributes]
    assert links
    assert {link.removeprefix("#") for link in links} <= set(ids)
    labels = [str(attributes["aria-labelledby"]) for _, attributes in read.elements if "aria-labelledby" in attributes]
    assert set(labels) <= set(ids)


def test_nothing_is_asked_of_anybody(make_content: MakeContent) -> None:
    text = page(make_content())
    for tag, attributes in _Document(text).elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name != "style", "the policy would refuse it"
            if name in ("src", "href", "data", "action"):
                assert str(value).startswith(("data:image/jpeg;base64,", "#"))
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|https?://(?!www\.w3\.org)", text.split("<pre")[0])


def test_the_policy_allows_this_style_and_this_script_and_no_other(make_content: MakeContent) -> None:
    read = _Document(page(make_content()))
    policy = next(str(a["content"]) for _, a in read.elements if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for rule, code in (("style-src", read.code["style"][0]), ("script-src", read.code["script"][-1])):
        assert rules[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
    assert read.elements.index(("meta", {"http-equiv": "Content-Security-Policy", "content": policy})) < 5, (
        "before anything that it is about"
    )


def test_a_hostile_name_is_text_wherever_it_stands(make_content: MakeContent) -> None:
    quiet, hostile = make_content(), make_content(people=(HOSTILE, "Bo"), name=HOSTILE)
    hostile = replace(
        hostile,
        canvas=Path(f"/x/{HOSTILE}"),
        sources=(Path(HOSTILE),),
        problems=(HOSTILE,),
        versions={**hostile.versions, "system": HOSTILE},
    )
    before, after = _Document(page(quiet)), _Document(page(hostile))
    assert after.count("script") == before.count("script") == 2
    assert after.count("img") == before.count("img")
    assert after.text.count(HOSTILE) >= 6
    assert after.text.count("{{7*7}}") >= 6
    assert all(not name.startswith("on") for _, attributes in after.elements for name in attributes)
    json.loads(after.code["script"][0])


def test_a_name_that_is_no_text_can_be_written(make_content: MakeContent) -> None:
    name = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    content = replace(make_content(frames=4), result=Path(name))
    assert "caf\ufffd.mp4" in page(content).encode("utf-8").decode()


def test_the_plan_on_the_page_runs_again_and_keeps_secrets(make_content: MakeContent) -> None:
    content = make_content(frames=4)
    assert content.run is not None
    settings = facexcli.resolve({"signing_key": "/home/zoe/secret.pem", "signing_cert": "/home/zoe/own.pem"})
    plan = content.run.plan.model_copy(update={"settings": settings})
    text = page(replace(content, run=replace(content.run, plan=plan)))
    read = _Document(text)
    shown = read.text[read.text.index("{\n") :]
    assert Plan.model_validate(json.JSONDecoder().raw_decode(shown)[0]).fingerprint == plan.fingerprint
    assert "secret.pem" not in text
    assert "own.pem" not in text


def test_a_plan_with_a_name_that_is_no_text_has_a_page(make_content: MakeContent) -> None:
    content = make_content(frames=4)
    assert content.run is not None
    odd = InputFile(path=Path(b"caf\xe9.mp4".decode("utf-8", "surrogateescape")), fingerprint="0")
    plan = content.run.plan.model_copy(update={"canvas": odd})
    assert "caf\ufffd.mp4" in page(replace(content, run=replace(content.run, plan=plan)))


@pytest.mark.parametrize(
    ("marks", "told"),
    [
        ({"marked": "manifest", "manifest": "embedded", "signer": "local authority", "run_id": "1a2b"}, "in the file"),
        ({"marked": "manifest", "manifest": "/x/out.c2pa", "signer": "/x/me.pem", "run_id": "1a2b"}, "in out.c2pa"),
        ({"marked": "tags", "description": "Synthetic"}, "metadata of the file say"),
        ({"marked": "off"}, "nothing in the file says"),
    ],
)
def test_it_says_how_the_result_is_marked(make_content: MakeContent, marks: dict[str, str], told: str) -> None:
    content = make_content(frames=4)
    assert content.run is not None
    text = _Document(page(replace(content, run=replace(content.run, provenance=marks)))).text
    assert told in text
    assert "/x/" not in text


def test_names_that_are_written_from_right_to_left_stay_in_their_place(make_content: MakeContent) -> None:
    assert "<bdi>" in page(make_content(people=("\u202eanna",)))


def test_a_long_clip_with_many_people_is_not_a_large_page(make_content: MakeContent) -> None:
    text = page(make_content(frames=60_000, people=tuple("ABCDEFGHIJKL")))
    assert len(text) < 2_000_000, "pictures have a limit of their own"
    assert "4 more people are not plotted" in text


def test_one_picture_has_no_timeline(make_content: MakeContent) -> None:
    read = _Document(page(make_content(frames=1)))
    assert read.count("input") == 1
    assert not any("data-plot" in attributes for _, attributes in read.elements)
    assert "Frames swapped" in read.text


def test_what_could_not_be_measured_is_said(make_content: MakeContent) -> None:
    read = _Document(page(make_content(evaluated=False)))
    assert "Not measured: no judge is installed (see facex doctor)" in read.text
    assert "Frames swapped" not in read.text
    assert read.count("input") == 8, "there is something to look at all the same"
    assert "Time and speed" in read.text


def test_a_reenactment_names_its_portrait_and_its_driver(make_content: MakeContent) -> None:
    content = make_content()
    samples = tuple(replace(pair, driving=pair.before) for pair in content.pictures.samples)
    shown = replace(content, driving=Path("moves.mp4"), pictures=replace(content.pictures, samples=samples))
    read = _Document(page(shown))
    for words in ("Report of a reenactment", "Portrait", "Driven by", "moves.mp4", "Left of the edge the portrait"):
        assert words in read.text
    assert sum(str(a.get("alt")).startswith("driving, frame ") for _, a in read.elements) == 8


def test_an_evaluation_alone_has_a_page(make_content: MakeContent) -> None:
    read = _Document(page(replace(make_content(), run=None)))
    assert "98.4" in read.text
    assert "Time and speed" not in read.text
    assert "Plan" not in read.text


def test_folders_of_files_are_in_the_plan_alone(make_content: MakeContent) -> None:
    text = page(replace(make_content(), canvas=Path("/home/zoe/clip.mp4")))
    outside = re.sub(r"<pre.*?</pre>", "", text, flags=re.DOTALL)
    assert "/home/zoe" in text
    assert "/home/zoe" not in outside


@pytest.mark.parametrize(
    ("name", "value", "better", "shown", "state"),
    [
        ("swap_rate", 0.99, "higher", "99.0", "met"),
        ("swap_rate", 0.98999, "higher", "98.999", "missed"),
        ("flicker_ratio", 1.1, "lower", "1.10", "met"),
        ("flicker_ratio", 1.2, "lower", "1.20", "missed"),
        ("untouched_psnr", float("inf"), "higher", "identical", "open"),
    ],
)
def test_a_figure_stands_beside_its_target(name: str, value: float, better: str, shown: str, state: str) -> None:
    (verdict,) = verdicts({name: Metric(value, "", better, "")})  # type: ignore[arg-type]
    assert verdict.value.startswith(shown)
    assert verdict.state == state
    assert bool(verdict.target) is (state != "open")
