"""The page in a real browser: quiet, movable by mouse and keyboard, and fit for every window."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facexcli.evaluate.report.page import page

if TYPE_CHECKING:
    from conftest import Browser

    from facexcli.evaluate.report.content import Content

ROOT = Path(__file__).resolve().parents[4]
_RIGHT, _HOME, _ENTER = ("ArrowRight", 39), ("Home", 36), ("Enter", 13)
FIRST = ".compare"
HOSTILE = "\"><img src=x onerror=\"document.title='broken'\"><script>document.title='broken'<\\script>.mp4"


@pytest.fixture(scope="session")
def output_folder() -> Path:
    """Where pictures for a look by eye are left: FACEX_TEST_OUTPUT, else test-output."""
    return Path(os.environ.get("FACEX_TEST_OUTPUT", ROOT / "test-output")) / "report"


@pytest.fixture(scope="module")
def report(make_content: Callable[..., Content], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page(make_content()), "utf-8")
    return path


def _clipped_per_cent(browser: Browser) -> float:
    """How much of the result is hidden, from the left, as the browser has computed it."""
    shape = browser.run(f"getComputedStyle(document.querySelector('{FIRST} .after')).clipPath")
    (left,) = re.fullmatch(r"inset\(0px 0px 0px ([\d.]+)%\)", shape).groups()
    return float(left)


def test_it_loads_from_a_file_in_silence(browser: Browser, report: Path) -> None:
    browser.open(report)
    assert browser.errors == []
    assert [url for url in browser.requests if not url.startswith("data:image/jpeg")] == [report.as_uri()]
    assert browser.run("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def test_the_policy_forbids_every_request(browser: Browser, report: Path) -> None:
    browser.open(report)
    tried = "fetch('https://example.org/').then(() => 'reached', error => 'refused')"
    assert browser.run(tried) == "refused"
    assert any("Content Security Policy" in error for error in browser.errors)
    browser.run(
        "document.body.insertAdjacentHTML('beforeend', '<p id=p style=\"color: red\" onclick=\"document.title=1\">')"
    )
    browser.run("document.getElementById('p').click()")
    assert browser.run("document.title") != "1", "an inline script would not run even if one came in"


def test_the_mouse_drags_the_edge(browser: Browser, report: Path, output_folder: Path) -> None:
    browser.open(report)
    left, top, width, height = browser.place(FIRST)
    assert _clipped_per_cent(browser) == 50
    browser.mouse("mousePressed", left + width / 2, top + height / 2, pressed=True)
    for share in (0.4, 0.3, 0.2):
        browser.mouse("mouseMoved", left + share * width, top + height / 2, pressed=True)
    browser.mouse("mouseReleased", left + 0.2 * width, top + height / 2)
    assert _clipped_per_cent(browser) == pytest.approx(20, abs=1), "the edge is under the pointer"
    edge = browser.run(f"document.querySelector('{FIRST} .edge').getBoundingClientRect().x")
    assert edge == pytest.approx(left + 0.2 * width, abs=4)
    browser.screenshot(output_folder / "dragged.png")
    others = browser.run("getComputedStyle(document.querySelectorAll('.compare .after')[1]).clipPath")
    assert others == "inset(0px 0px 0px 50%)"


def test_the_keyboard_moves_the_edge(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.run(f"document.querySelector('{FIRST} input').focus()")
    for _ in range(5):
        browser.key(*_RIGHT)
    assert _clipped_per_cent(browser) == 55
    browser.key(*_HOME)
    assert _clipped_per_cent(browser) == 0
    assert browser.run("document.activeElement.getAttribute('aria-label')").startswith("Edge of the result, frame ")
    assert browser.run("document.activeElement.getAttribute('aria-valuetext')") == "100 per cent result"


def test_a_frame_can_be_enlarged(browser: Browser, report: Path) -> None:
    browser.open(report)
    width = browser.place(FIRST)[2]
    browser.run("document.querySelector('button.enlarge').click()")
    assert browser.place(FIRST)[2] > 1.8 * width
    assert browser.run("document.querySelector('button.enlarge').getAttribute('aria-pressed')") == "true"


def test_pointing_at_a_timeline_tells_its_values(browser: Browser, report: Path, output_folder: Path) -> None:
    browser.open(report)
    plot = "#person-0 [data-plot='2'] > svg"
    left, top, width, height = browser.place(plot)
    browser.mouse("mouseMoved", left + 0.5 * width, top + 0.4 * height)
    assert browser.run("document.querySelector('#person-0 .where').textContent") == "0:06.00, frame 150"
    told = browser.run("[...document.querySelectorAll('#person-0 output')].map(output => output.textContent)")
    assert all(re.fullmatch(r"-?\d+\.\d+", text) for text in told), (
        "identity too, which is measured in every few frames"
    )
    assert not browser.run("document.querySelector('#person-1').classList.contains('reading')")
    browser.screenshot(output_folder / "timeline.png")
    browser.mouse("mouseMoved", 2, 2)
    assert browser.run("document.querySelector('#person-0 output').textContent") == ""


def test_a_timeline_is_read_and_left_by_keyboard(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.run("document.querySelector('#person-0 [data-plot]').focus()")
    browser.key(*_HOME)
    browser.key(*_RIGHT)
    assert browser.run("document.querySelector('#person-0 .where').textContent") == "0:00.04, frame 1"
    browser.key(*_ENTER)
    assert browser.run("document.activeElement.closest('figure').id") == "frame-18", "the nearest sample"


def test_a_click_leads_from_the_timeline_to_frames(browser: Browser, report: Path) -> None:
    browser.open(report)
    left, top, width, height = browser.place("#person-0 [data-plot='2'] > svg")
    x, y = left + width * 100 / 300, top + 0.4 * height
    browser.mouse("mousePressed", x, y, pressed=True)
    browser.mouse("mouseReleased", x, y)
    assert browser.run("document.activeElement.closest('figure').id") == "frame-93", "the nearest sample"
    left, top, width, height = browser.place("#person-0 [data-plot='2'] .doubt")
    browser.mouse("mousePressed", left + width / 2, top + 0.4 * height, pressed=True)
    browser.mouse("mouseReleased", left + width / 2, top + 0.4 * height)
    assert browser.run("location.hash") == "#look-0"


@pytest.mark.parametrize("width_px", [320, 400, 768, 1200])
def test_no_window_is_too_narrow(browser: Browser, report: Path, width_px: int) -> None:
    browser.open(report, width_px)
    assert browser.run("document.documentElement.scrollWidth") == width_px
    wide = browser.run(
        "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, pre, svg, .compare')"
        f" && e.getBoundingClientRect().right > {width_px} + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert wide == []


@pytest.mark.parametrize(
    ("name", "width_px", "dark"), [("light", 1200, False), ("dark", 1200, True), ("narrow", 400, False)]
)
def test_it_is_readable_by_day_and_by_night(
    browser: Browser, report: Path, output_folder: Path, name: str, width_px: int, dark: bool
) -> None:
    browser.open(report, width_px, dark=dark)
    browser.screenshot(output_folder / f"{name}.png", whole=True)
    ratios = browser.run(_CONTRAST)
    assert len(ratios) > 50
    assert min(ratios) >= 4.5, "WCAG 2.2, 1.4.3"


_CONTRAST = """(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (text) => rgb(text).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const paint = getComputedStyle(e).backgroundColor, parts = rgb(paint);
      if (parts.length === 3 || parts[3] === 1) return paint;
    }
  };
  const ratios = [];
  const texts = "h1, h2, h3, p, li, dt, dd, th, td, summary, a, button, span:not(.word), text";
  for (const e of document.querySelectorAll(texts)) {
    if (!e.textContent.trim() || !e.checkVisibility() || (e.closest("a") && e.closest("svg"))) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(e.closest("svg") ? style.fill : style.color), light(ground(e))].sort((x, y) => y - x);
    ratios.push((a + 0.05) / (b + 0.05));
  }
  return ratios;
})()"""


def test_on_paper_both_pictures_stand_side_by_side(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.send("Emulation.setEmulatedMedia", media="print")
    before, after = browser.run(
        f"[...document.querySelectorAll('{FIRST}')[0].querySelectorAll('img')].map(i => i.getBoundingClientRect().x)"
    )
    assert after > before + 100
    assert browser.run(f"getComputedStyle(document.querySelector('{FIRST} .after')).clipPath") == "none"
    assert browser.run(f"getComputedStyle(document.querySelector('{FIRST} input')).display") == "none"


def test_a_hostile_name_does_nothing(browser: Browser, make_content: Callable[..., Content], tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(make_content(people=(HOSTILE,), name=HOSTILE)), "utf-8")
    browser.open(path)
    assert browser.errors == []
    assert browser.run("document.querySelector('h3').textContent") == HOSTILE
    assert "broken" not in browser.run("document.title").removeprefix(HOSTILE)
    assert browser.run("document.querySelectorAll('[onerror]').length") == 0
