"""The report as a person meets it: in a real browser, from a folder, with a video that plays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from avdetect.events.curve import ScoreCurve
from avdetect.events.event import Event
from avdetect.media.packets import MediaInfo, MediaNote
from avdetect.sinks.report import ReportEntry, write_report
from tests.synth.browser import Browser, headless_chromium
from tests.synth.media import MediaFactory

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("chromium"),
]

CLASSES = ("gunshot", "scream", "siren")
EVENTS = (
    Event("gunshot", 0.64, 1.28, 0.96, 0.9, "both"),
    Event("scream", 1.28, 1.92, 1.6, 0.7, "audio"),
    Event("gunshot", 2.1, 2.5, 2.3, 0.8, "visual"),
)
THRESHOLDS = {"gunshot": 0.5, "scream": 0.4}
"""Events of sirens are not wanted."""
VIDEO_NAME = 'día <script> "1" #1?.mp4'


def make_entry(video: Path | None, *, duration_s: float = 3.2, media: MediaInfo | None = None) -> ReportEntry:
    num_snippets = round(duration_s / 0.64)
    scores = np.random.default_rng(3).random((3, num_snippets, len(CLASSES)), np.float32)
    present = np.ones((num_snippets, 2), np.bool_)
    present[1, 0] = False
    starts = np.arange(num_snippets) * 0.64
    curve = ScoreCurve(str(video), CLASSES, (True, False, True), starts, starts + 0.64, *scores, present)
    media = media or MediaInfo(str(video), "mp4", duration_s, video_codec="h264", width=160, height=120)
    return ReportEntry(curve, EVENTS, media, [MediaNote("truncated", "Ends early.")], video, THRESHOLDS)


@dataclass(frozen=True)
class Folder:
    page: Path
    sources: tuple[str, ...]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, media: MediaFactory) -> Folder:
    """Sources 0..4: an mp4 with a hostile name, a late-starting one, no file, a text file, sound alone, ten hours."""
    root = tmp_path_factory.mktemp("report #1")
    usual = media.flash_and_tone("report.mp4")
    (root / VIDEO_NAME).write_bytes(usual.read_bytes())
    late = media.ffmpeg("late.mkv", "-i", usual, "-c", "copy", "-output_ts_offset", "5")
    (root / "late.mkv").write_bytes(late.read_bytes())
    (root / "text.mp4").write_text("this is no video")
    sound = media.flash_and_tone("report.m4a", video=())
    (root / "sound.m4a").write_bytes(sound.read_bytes())
    heard = MediaInfo("sound.m4a", "mp4", 3.0, audio_codec="aac", audio_rate_hz=48_000, audio_channels=1)
    entries = [
        make_entry(root / VIDEO_NAME),
        make_entry(root / "late.mkv"),
        make_entry(None),
        make_entry(root / "text.mp4"),
        make_entry(root / "sound.m4a", media=heard),
        replace(make_entry(None, duration_s=36_000.0), notes=()),
    ]
    write_report(root / "report.html", entries, title="Night & <day>")
    return Folder(root / "report.html", tuple(entry.curve.source for entry in entries))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with headless_chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser, folder: Folder) -> Browser:
    """The report, freshly opened on a desktop in light colours, its first video ready."""
    chromium.resize(1280, 900)
    chromium.prefer("light")
    chromium.open(folder.page)
    chromium.wait_for("document.querySelector('video')?.readyState >= 1")
    chromium.wait_for(PAINTED)
    return chromium


PAINTED = "document.querySelector('#curves').width > 300 && !frameWanted"
CURRENT = "document.querySelector('video').currentTime"
COLOURED = """
    const canvas = document.querySelector('#curves');
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let seen = new Set();
    for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] === 255) seen.add(pixels.slice(i, i + 3).join());
    const rgb = (name) => {
        const pen = document.createElement('canvas').getContext('2d');
        pen.fillStyle = styleOf(name);
        pen.fillRect(0, 0, 1, 1);
        return pen.getImageData(0, 0, 1, 1).data.slice(0, 3).join();
    };
    return ['--fused', '--heard', '--seen', '--class-0', '--class-1'].filter((name) => !seen.has(rgb(name)));
"""


def choose(browser: Browser, source: int) -> None:
    browser.click(f"#source-list li:nth-child({source + 1}) button")


def test_the_page_opens_without_a_complaint_in_the_console(browser: Browser) -> None:
    browser.complaints()
    browser.open(Path(browser.run("return decodeURIComponent(location.pathname)")))
    browser.wait_for("document.querySelector('video')?.readyState >= 1")

    assert browser.complaints() == []
    assert browser.run("return document.title") == "Night & <day>"
    assert browser.run("return document.querySelector('#name').textContent") == VIDEO_NAME


@pytest.mark.parametrize(("row", "start_s"), [(1, 0.64), (2, 1.28), (3, 2.1)])
def test_clicking_an_event_takes_the_video_to_its_start(browser: Browser, row: int, start_s: float) -> None:
    browser.click(f"#rows tr:nth-child({row}) td:nth-child(3)")

    assert browser.run(f"return {CURRENT}") == pytest.approx(start_s, abs=0.01)
    browser.wait_for(f"document.querySelector('#rows tr:nth-child({row})').ariaCurrent === 'true'")


def test_enter_on_an_event_takes_the_video_to_its_start(browser: Browser) -> None:
    browser.run("document.querySelector('#rows tr:nth-child(3) button').focus()")
    browser.press("\ue007")

    assert browser.run(f"return {CURRENT}") == pytest.approx(2.1, abs=0.01)


def test_n_and_p_walk_through_the_events(browser: Browser) -> None:
    reached = []
    for key in "nnnnpp":
        browser.press(key)
        reached.append(browser.run(f"return {CURRENT}"))

    assert reached == pytest.approx([0.64, 1.28, 2.1, 2.1, 1.28, 0.64], abs=0.01)


def test_a_click_on_the_curves_takes_the_video_there(browser: Browser) -> None:
    x, y = browser.run(
        "const b = document.querySelector('#plot').getBoundingClientRect();"
        "return [b.left + GUTTER + (b.width - GUTTER) / 2, b.top + 120]"
    )
    for kind in ("mousePressed", "mouseReleased"):
        browser.developer("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    assert browser.run(f"return {CURRENT}") == pytest.approx(1.6, abs=0.02)


def test_the_playhead_follows_the_video(browser: Browser) -> None:
    place = "return new DOMMatrix(document.querySelector('#playhead').style.transform).e"
    before = browser.run(place)
    browser.press(" ")
    browser.wait_for(f"{CURRENT} > 0.3")

    assert browser.run(place) > before + 20


def test_hovering_reads_the_three_curves_and_says_where_one_is_absent(browser: Browser) -> None:
    x, y = browser.run(
        "const b = document.querySelector('#plot').getBoundingClientRect();"
        "return [b.left + GUTTER + (b.width - GUTTER) * 0.3, b.top + 120]"
    )
    browser.developer("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    text = browser.wait_for(
        "!document.querySelector('#readout').hidden && document.querySelector('#readout').innerText"
    )
    assert "0:00.96" in text
    assert "Fused" in text
    assert text.count("absent") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("pixel_ratio", [1.0, 2.0])
def test_the_curves_are_drawn_in_the_colours_of_the_scheme(browser: Browser, scheme: str, pixel_ratio: float) -> None:
    browser.prefer(scheme)
    browser.resize(1280, 900, pixel_ratio=pixel_ratio)
    browser.wait_for(f"devicePixelRatio === {pixel_ratio}")
    browser.run("redraw(); return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    assert browser.run(COLOURED) == []
    ratio = "document.querySelector('#curves').width / document.querySelector('#plot').clientWidth"
    assert browser.run(f"return {ratio}") == pytest.approx(pixel_ratio, abs=0.01)
    dark = browser.run("return parseInt(getComputedStyle(document.body).backgroundColor.slice(4)) < 64")
    assert dark == (scheme == "dark")


def test_choosing_a_class_shows_its_events_only(browser: Browser) -> None:
    browser.run("document.querySelectorAll('#classes input')[1].click()")

    assert browser.run(
        "return [...document.querySelectorAll('#rows tr td:nth-child(2)')].map((td) => td.innerText)"
    ) == [
        "gunshot",
        "gunshot",
    ]
    assert browser.run("return model.threshold") == 0.5


def test_the_curve_of_all_events_is_of_the_classes_whose_events_are_counted(browser: Browser) -> None:
    scores = make_entry(None).curve.scores[:, :2]

    assert browser.run("return [...model.curves[0]]") == np.rint(scores.max(axis=1) * 255).tolist()
    assert browser.run("return document.querySelector('#classes em').textContent") == "3"
    assert browser.run("return model.threshold") is None  # the two have different ones


def test_the_wheel_zooms_and_dragging_moves(browser: Browser) -> None:
    choose(browser, 5)
    x, y = browser.run(
        "const b = document.querySelector('#plot').getBoundingClientRect();"
        "return [b.left + GUTTER + (b.width - GUTTER) / 2, b.top + 60]"
    )
    for _ in range(10):
        browser.developer("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-120)
    zoomed = browser.wait_for("model.view.end - model.view.start < 10000 && model.view")
    for kind, at in (("mousePressed", x), ("mouseMoved", x - 100), ("mouseReleased", x - 100)):
        browser.developer("Input.dispatchMouseEvent", type=kind, x=at, y=y, button="left", buttons=1, clickCount=1)

    moved = browser.run("return model.view")
    assert zoomed["start"] < 18_000 < zoomed["end"]
    assert moved["start"] > zoomed["start"]
    assert moved["end"] - moved["start"] == pytest.approx(zoomed["end"] - zoomed["start"])


def test_a_video_that_starts_late_on_its_own_clock_is_played_at_the_right_place(browser: Browser) -> None:
    choose(browser, 1)
    browser.wait_for("document.querySelector('video')?.readyState >= 1 && entry.name === 'late.mkv'")
    origin_s = browser.run(f"return {CURRENT}")
    browser.run(
        "const v = document.querySelector('video');"
        "const note = (_, frame) => { window.shown_s = frame.mediaTime; v.requestVideoFrameCallback(note); };"
        "v.requestVideoFrameCallback(note)"
    )
    browser.click("#rows tr:nth-child(2)")
    shown_s = browser.wait_for(f"window.shown_s > {origin_s + 0.5} && window.shown_s")

    assert shown_s - origin_s == pytest.approx(1.28, abs=0.05)
    assert browser.run("return position") == pytest.approx(1.28, abs=0.01)


@pytest.mark.parametrize(("source", "message"), [(2, "not read from a file"), (3, "cannot play text.mp4")])
def test_what_cannot_be_played_still_shows_its_curves(browser: Browser, source: int, message: str) -> None:
    choose(browser, source)
    text = browser.wait_for(
        "!document.querySelector('#unplayable').hidden && document.querySelector('#why').textContent"
    )
    browser.press("n")
    browser.wait_for(PAINTED)

    assert message in text
    assert browser.run("return position") == pytest.approx(0.64)
    assert browser.run(COLOURED) == []
    browser.complaints()  # a file that does not decode may be said to be so in the console


def test_sound_alone_gets_an_audio_player(browser: Browser) -> None:
    choose(browser, 4)
    browser.wait_for("document.querySelector('audio')?.readyState >= 1")
    browser.press("n")

    assert browser.run("return document.querySelector('audio').currentTime") == pytest.approx(0.64, abs=0.01)


def test_ten_hours_are_drawn_with_no_more_strokes_than_there_are_pixels(browser: Browser) -> None:
    choose(browser, 5)
    strokes = browser.run(
        "const kind = CanvasRenderingContext2D.prototype, real = kind.lineTo; let count = 0;"
        "kind.lineTo = function (...at) { count += 1; return real.apply(this, at); };"
        "try { drawPlot($('curves'), model); } finally { kind.lineTo = real; }"
        "return count / $('curves').width"
    )

    assert 0 < strokes < 20  # a few curves, each with a high and a low per pixel; there are 56 250 snippets


def test_a_phone_shows_it_all_without_scrolling_sideways(browser: Browser) -> None:
    browser.resize(390, 844, pixel_ratio=3, touch=True)
    browser.wait_for("innerWidth === 390")

    assert browser.run("return document.documentElement.scrollWidth") == 390
    overflowing = (
        "[...document.querySelectorAll('main .card')].filter((card) => card.getBoundingClientRect().right > 390).length"
    )
    assert browser.run(f"return {overflowing}") == 0


def test_everything_to_press_has_a_name(browser: Browser) -> None:
    tree = browser.developer("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "radio", "slider", "table", "link"}
    nameless = [
        node["nodeId"]
        for node in tree
        if not node["ignored"] and node["role"]["value"] in roles - {"table"} and not node.get("name", {}).get("value")
    ]

    assert nameless == []


def test_the_page_of_a_question_shows_its_places(chromium: Browser, folder: Folder) -> None:
    entry = make_entry(folder.page.parent / VIDEO_NAME)
    phrases = ("glass breaks on a stone floor", "people shout", "a siren")
    events = (
        Event("story", 0.64, 2.5, 0.96, 0.8, "audio"),
        Event(phrases[0], 0.64, 1.28, 0.96, 0.9, "audio"),
        Event(phrases[1], 1.92, 2.5, 2.2, 0.7, "audio"),
    )
    asked = replace(
        entry,
        curve=replace(entry.curve, classes=phrases),
        events=events,
        on_thresholds=dict.fromkeys(phrases, 0.5),
        count=1,
    )
    page = folder.page.parent / "answer.html"
    write_report(page, [asked], title="Glass breaks ...", found="place")
    chromium.resize(1280, 900)
    chromium.open(page)
    chromium.wait_for("document.querySelector('video')?.readyState >= 1")
    chromium.wait_for(PAINTED)
    chromium.click("#rows tr:nth-child(3) td:nth-child(3)")

    assert chromium.run(f"return {CURRENT}") == pytest.approx(1.92, abs=0.01)
    assert chromium.run("return document.querySelector('#totals').textContent").startswith("1 place in")
    assert chromium.run("return document.querySelector('#events-title').textContent") == "Places"
    assert chromium.run("return readoutAt(0.7).map(([name]) => name)") == ["0:00.70", "Relevance", "story", phrases[0]]
    assert chromium.run("return document.querySelector('th:nth-child(4)').offsetParent === null")  # "Sensed"
    assert chromium.run("return fitted($('curves').getContext('2d'), 'glass breaks on stone', 60)").endswith("…")
    assert chromium.complaints() == []
