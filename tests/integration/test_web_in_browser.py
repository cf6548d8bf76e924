"""The live page as a person meets it: in a real browser, with clips that play and answers that are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from avdetect.events.event import FeedGap
from avdetect.serve.feeds.listener import ClipReady
from tests.synth.browser import Browser, headless_chromium
from tests.synth.live_service import HOP_S, LiveService, live_service, make_event
from tests.synth.media import MediaFactory

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("chromium"),
]

TOKEN = "correct-horse-battery"
HOSTILE = '<img src=x onerror="document.title=1">'
LIVE = "document.querySelector('#connection').dataset.state === 'live'"
ENTER, ESCAPE, TAB = "\ue007", "\ue00c", "\ue004"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with headless_chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """On a desktop, in light colours; it must not complain."""
    chromium.resize(1280, 900)
    chromium.prefer("light")
    chromium.complaints()
    yield chromium
    chromium.open("about:blank")


@pytest.fixture
def service(tmp_path: Path, media: MediaFactory) -> Iterator[LiveService]:
    """Two feeds with a minute of scores, and three events, two of which have clips."""
    clip = media.flash_and_tone("live-clip.mp4", options=("-movflags", "+faststart"))
    picture = media.ffmpeg("live-clip.jpg", "-ss", "1.3", "-i", clip, "-frames:v", "1")
    with live_service(tmp_path) as service:
        fill(service, clip, picture)
        yield service


def fill(service: LiveService, clip: Path, picture: Path) -> None:
    now = time.time()
    for feed in ("gate", HOSTILE):
        service.add_feed(feed)
        for age in range(90, 0, -1):
            service.score(feed, 0.9 if 40 < age < 50 else 0.05, at_unix_s=now - age * HOP_S, seen=age % 30 > 10)
    for name in ("a", "b"):
        (service.clips_folder / f"{name}.mp4").write_bytes(clip.read_bytes())
        (service.clips_folder / f"{name}.jpg").write_bytes(picture.read_bytes())
    started = datetime.now(UTC)
    service.store.record_event(
        make_event("a", started_at=started - timedelta(seconds=30), clip="a.mp4", thumbnail="a.jpg", confidence=0.86)
    )
    service.store.record_event(
        make_event("b", started_at=started - timedelta(hours=30), label="siren", clip="b.mp4", thumbnail="b.jpg")
    )
    service.store.record_event(
        make_event("c", started_at=started - timedelta(hours=50), feed=HOSTILE, label=HOSTILE, confidence=0.4)
    )


@pytest.fixture
def page(browser: Browser, service: LiveService) -> Browser:
    """The page, opened, its events listed."""
    browser.open(service.url)
    browser.wait_for(LIVE)
    browser.wait_for("document.querySelectorAll('.event').length === 3")
    return browser


def listed(page: Browser) -> list[str]:
    found: list[str] = page.run("return [...document.querySelectorAll('.event')].map((row) => row.dataset.id)")
    return found


def text_of(page: Browser, selector: str) -> str:
    return str(page.run(f"return document.querySelector({selector!r}).innerText"))


def wait_until(condition: Callable[[], bool], what: str, within_s: float = 90.0) -> None:
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, what
        time.sleep(0.05)


def answer_of(service: LiveService, event_id: str) -> str | None:
    event = service.store.event(event_id)
    assert event is not None
    return event.answer


def test_the_page_shows_feeds_and_events_without_a_complaint(page: Browser) -> None:
    page.wait_for("document.querySelector('[data-id=a] img')?.naturalWidth > 0")

    assert listed(page) == ["a", "b", "c"]
    assert "Gunshot" in text_of(page, "[data-id=a]")
    assert "86 %" in text_of(page, "[data-id=a]")
    assert "gate" in text_of(page, ".feed")
    assert text_of(page, "#feeds-summary") == "2 of 2 live"
    assert page.complaints() == []


def test_names_are_text_and_never_markup(page: Browser) -> None:
    assert HOSTILE in text_of(page, "[data-id=c]")
    assert page.run("return document.querySelectorAll('main img[src=x]').length") == 0
    assert page.run("return document.title") == "avdetect live"


def test_a_clip_plays_and_can_be_sought_in(page: Browser) -> None:
    page.click("[data-id=a] .show")
    page.wait_for("document.querySelector('#viewer').open && document.querySelector('video').currentTime > 0.3")
    page.run("document.querySelector('video').currentTime = 2.2")
    page.wait_for("!document.querySelector('video').seeking && document.querySelector('video').currentTime >= 2.2")

    assert page.run("return document.querySelector('video').videoWidth") == 160
    assert page.complaints() == []


def test_an_event_without_a_clip_says_so(page: Browser) -> None:
    page.click("[data-id=c] .show")

    assert text_of(page, "#viewer-message") == "There is no clip of it."


@pytest.mark.parametrize(("button", "said"), [("confirmed", "confirmed"), ("dismissed", "dismissed")])
def test_an_answer_is_stored_and_taken_back_with_a_second_click(
    page: Browser, service: LiveService, button: str, said: str
) -> None:
    page.click(f"[data-id=a] .{button}")
    page.wait_for(f"document.querySelector('[data-id=a] .{button}').ariaPressed === 'true'")
    wait_until(lambda: answer_of(service, "a") == said, "the answer was never stored")

    page.click(f"[data-id=a] .{button}")
    wait_until(lambda: answer_of(service, "a") is None, "the answer was never taken back")


def test_events_can_be_answered_one_after_the_other_from_the_keyboard(page: Browser, service: LiveService) -> None:
    page.run("document.querySelector('[data-id=a] .show').focus()")
    page.press(ENTER)
    page.wait_for("document.querySelector('#viewer').open")
    for key in "cnd":
        page.press(key)
    wait_until(lambda: answer_of(service, "b") == "dismissed", "the key d did not dismiss")
    page.press(ESCAPE)

    assert answer_of(service, "a") == "confirmed"
    assert page.run("return document.querySelector('#viewer').open") is False
    page.wait_for("document.activeElement.closest('.event')?.dataset.id === 'b'")


def test_an_answer_that_was_given_elsewhere_shows_at_once(page: Browser, service: LiveService) -> None:
    page.click("[data-id=a] .show")
    page.wait_for("document.querySelector('#viewer').open")
    answer = f"{service.url}/api/events/a/answer"

    for said in ("confirmed", "dismissed", None):
        assert httpx.put(answer, json={"answer": said}, headers={"Origin": service.url}).status_code == 200
        page.wait_for(f"document.querySelector('[data-id=a]').dataset.answer === '{said or ''}'")
        pressed = [f"{button}-{str(button == said).lower()}" for button in ("confirmed", "dismissed")]
        page.wait_for(
            "[...document.querySelectorAll('#viewer-answer button')]"
            f".map((button) => button.className + '-' + button.ariaPressed).join() === '{','.join(pressed)}'"
        )


def test_an_answer_that_could_not_be_stored_is_not_shown_as_if_it_were(page: Browser, service: LiveService) -> None:
    service.store.forget_events(["a"])
    page.click("[data-id=a] .confirmed")

    assert "Not stored: There is no event a." in page.wait_for("document.querySelector('#toast').innerText")
    assert page.run("return document.querySelector('[data-id=a] .confirmed').ariaPressed") == "false"
    page.complaints()  # the answer 404 is one


def test_a_long_list_scrolls_by_itself_and_the_page_stays(page: Browser, service: LiveService) -> None:
    for number in range(30):
        service.report(make_event(f"more-{number}"))
    page.wait_for("document.querySelectorAll('.event').length === 33")

    assert page.run("return document.documentElement.scrollHeight <= innerHeight")
    assert page.run("const list = document.querySelector('#event-list'); return list.scrollHeight > list.clientHeight")


def test_an_event_appears_grows_and_closes_while_one_looks(page: Browser, service: LiveService) -> None:
    started = datetime.now(UTC)
    service.report(make_event("new", stage="opened", started_at=started, label="scream"))
    page.wait_for("document.querySelector('[data-id=new]')?.dataset.open === 'true'")
    assert listed(page)[0] == "new"
    assert text_of(page, "[data-feed=gate] .what") == "Scream"

    service.report(make_event("new", started_at=started, label="scream", length_s=7.5))
    page.wait_for("document.querySelector('[data-id=new]').dataset.open === 'false'")
    assert "7.5 s" in text_of(page, "[data-id=new]")
    assert text_of(page, "[data-feed=gate] .what") == "quiet"


def test_a_button_that_is_being_pressed_is_not_taken_away_by_an_update(page: Browser, service: LiveService) -> None:
    started = datetime.now(UTC)
    service.report(make_event("new", stage="opened", started_at=started, label="scream"))
    page.wait_for("document.querySelector('[data-id=new]')")
    page.run("window.pressed = document.querySelector('[data-id=new] .confirmed'); pressed.focus()")

    service.report(make_event("new", started_at=started, label="scream", confidence=0.97))
    service.report(make_event("newer", stage="opened"))
    page.wait_for("document.querySelector('[data-id=newer]')")

    assert "97 %" in text_of(page, "[data-id=new]")
    assert page.run("return pressed.isConnected && document.activeElement === pressed") is True


COLOURED = """
    const canvas = document.querySelector('#detail-plot');
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    const seen = new Set();
    for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] === 255) seen.add(pixels.slice(i, i + 3).join());
    const rgb = (colour) => {
        const pen = document.createElement('canvas').getContext('2d');
        pen.fillStyle = colour;
        pen.fillRect(0, 0, 1, 1);
        return pen.getImageData(0, 0, 1, 1).data.slice(0, 3).join();
    };
    const valueOf = (element, name) => getComputedStyle(element).getPropertyValue(name);
    const curves = ['--fused', '--heard', '--seen'].map((name) => valueOf(document.documentElement, name));
    const event = valueOf(document.querySelector('[data-id=a]'), '--colour');
    return [...curves, event].filter((colour) => !seen.has(rgb(colour)));
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_curves_are_drawn_in_the_colours_of_the_scheme(page: Browser, scheme: str) -> None:
    page.prefer(scheme)
    page.click("[data-feed=gate] .feed-name")
    page.wait_for("document.querySelector('#detail-plot').width > 300")
    page.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    assert page.run(COLOURED) == []
    dark = page.run("return parseInt(getComputedStyle(document.body).backgroundColor.slice(4)) < 64")
    assert dark == (scheme == "dark")


def test_the_scheme_can_be_switched_and_is_remembered(page: Browser) -> None:
    page.click("#scheme")
    assert page.run("return document.documentElement.dataset.scheme") == "dark"
    page.run("location.reload()")
    page.wait_for("document.documentElement.dataset.scheme === 'dark'")

    page.wait_for(LIVE)
    page.click("#scheme")
    assert page.run("return [document.documentElement.dataset.scheme, localStorage.length]") == ["light", 0]


def test_a_feed_at_large_shows_its_gaps_and_its_events_only(page: Browser, service: LiveService) -> None:
    began = datetime.now(UTC) - timedelta(minutes=3)
    service.store.record_gap(
        FeedGap("gate", "stalled", "No packets for 5 s.", 1.0, began, began + timedelta(seconds=9))
    )
    page.click("[data-feed=gate] .feed-name")
    page.wait_for("document.querySelectorAll('.event').length === 2")
    page.click("#detail-gaps summary")
    page.wait_for("document.querySelector('#detail-gaps li')")

    assert listed(page) == ["a", "b"]
    assert text_of(page, "#detail-gaps li").endswith("9.0 s · No packets for 5 s.")

    page.press(ESCAPE)
    page.wait_for("document.querySelectorAll('.event').length === 3")
    assert page.run("return document.querySelector('#detail').hidden") is True


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("class", "siren", ["b"]),
        ("confidence", "0.5", ["a", "b"]),
        ("answer", "confirmed", ["b"]),
        ("answer", "unanswered", ["a", "c"]),
        ("since", "YESTERDAY", ["a"]),
    ],
)
def test_filters_narrow_the_list_and_survive_a_reload(
    page: Browser, service: LiveService, field: str, value: str, expected: list[str]
) -> None:
    service.store.set_answer("b", "confirmed")
    if value == "YESTERDAY":
        value = (datetime.now().astimezone() - timedelta(hours=24)).strftime("%Y-%m-%dT%H:%M")
    shown = f"document.querySelectorAll('.event').length === {len(expected)}"
    page.click("#filter-toggle")
    page.run(
        f"const field = document.querySelector('#filters').elements[{field!r}]; field.value = {value!r};"
        "field.dispatchEvent(new Event('input', { bubbles: true }))"
    )
    page.wait_for(shown)
    assert listed(page) == expected
    assert text_of(page, "#filter-count") == "1"

    page.run("location.reload()")
    page.wait_for(f"document.querySelector('.event') && {shown}")
    assert listed(page) == expected


def test_a_lost_service_is_said_so_and_found_again(browser: Browser, tmp_path: Path, media: MediaFactory) -> None:
    with live_service(tmp_path) as service:
        service.add_feed("gate")
        service.score("gate", 0.1)
        browser.open(service.url)
        browser.wait_for(LIVE)
        port = int(service.url.rpartition(":")[2])
    browser.wait_for("document.querySelector('#connection').innerText.startsWith('Offline since')")

    with live_service(tmp_path, port=port) as service:
        service.add_feed("yard")
        service.report(make_event("meanwhile", feed="yard"))
        browser.wait_for(LIVE, timeout_s=120)
        browser.wait_for("document.querySelector('[data-id=meanwhile]')")
        names = browser.run("return [...document.querySelectorAll('.feed')].map((card) => card.dataset.feed)")

    assert names == ["yard"]
    browser.complaints()  # that there was no connection is one


def test_with_a_token_the_page_asks_for_it_once(browser: Browser, tmp_path: Path) -> None:
    with live_service(tmp_path, token=TOKEN) as service:
        service.add_feed("gate")
        browser.open(service.url)
        browser.wait_for("document.querySelector('#sign-in').open")
        browser.run("document.querySelector('[name=token]').value = 'guess'")
        browser.click("#sign-in-form button")
        assert browser.wait_for("document.querySelector('#sign-in-error').innerText") == "That is not the token."

        browser.run(f"document.querySelector('[name=token]').value = {TOKEN!r}")
        browser.click("#sign-in-form button")
        browser.wait_for(LIVE)
        browser.run("location.reload()")
        browser.wait_for(LIVE)
        assert browser.run("return document.cookie") == ""

        browser.click("#sign-out")
        browser.wait_for("document.querySelector('#sign-in')?.open")
        browser.complaints()  # the wrong guess is one


def test_a_phone_shows_it_all_without_scrolling_sideways(page: Browser) -> None:
    page.resize(390, 844, pixel_ratio=3, touch=True)
    page.wait_for("innerWidth === 390")
    width = "return document.documentElement.scrollWidth"
    assert page.run(width) == 390

    page.click("#tab-events")
    page.wait_for("document.querySelector('.event').clientWidth > 0")
    assert page.run(width) == 390
    assert page.run("return document.querySelector('.feed').clientWidth") == 0

    page.click("[data-id=a] .show")
    page.wait_for("document.querySelector('#viewer').open")
    assert page.run("return document.querySelector('#viewer').scrollWidth") <= 390


def test_sixteen_feeds_are_shown_side_by_side(page: Browser, service: LiveService) -> None:
    for number in range(14):
        service.add_feed(
            f"camera {number}", "waiting" if number == 3 else "running", "no route to host." * (number == 3)
        )
    page.wait_for("document.querySelectorAll('.feed').length === 16", timeout_s=120)
    boxes = page.run(
        "return [...document.querySelectorAll('.feed')].map((card) => card.getBoundingClientRect().toJSON())"
    )

    assert len({box["left"] for box in boxes}) >= 3
    assert len({(box["width"], box["height"]) for box in boxes}) == 1
    assert text_of(page, "#feeds-summary") == "15 of 16 live"
    assert "no route to host." in text_of(page, "[data-state=waiting]")


def test_everything_to_press_has_a_name(page: Browser) -> None:
    page.click("#filter-toggle")
    tree = page.developer("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "radio", "slider", "link", "combobox", "tab", "img", "image", "dialog"}
    nameless = [
        node
        for node in tree
        if not node["ignored"] and node["role"]["value"] in roles and not node.get("name", {}).get("value")
    ]

    assert nameless == []


REASON = (
    "rtsp://192.0.2.17:554/axis-media/media.amp?videocodec=h264: cannot be opened as media: Server returned 401 "
    "Unauthorized (authorization failed)."
)


def test_the_reason_of_a_feed_that_cannot_be_reached_is_read_in_full_on_its_card(
    page: Browser, service: LiveService
) -> None:
    service.add_feed("yard", "waiting", REASON)
    page.wait_for("document.querySelector('[data-feed=yard] .what')?.innerText")
    what = "document.querySelector('[data-feed=yard] .what')"

    assert text_of(page, "[data-feed=yard] .what") == REASON
    for width in (1280, 390):
        page.resize(width, 900)
        assert page.run(
            f"return {what}.scrollWidth <= {what}.clientWidth && {what}.scrollHeight <= {what}.clientHeight"
        )


def test_a_full_disk_is_seen_and_what_has_closed_is_not_shown_as_open(page: Browser, service: LiveService) -> None:
    event = make_event("full", stage="opened", length_s=1.5)
    service.report(event)
    page.wait_for("document.querySelector('[data-id=full]')?.dataset.open === 'true'")
    service.state.set_store_trouble("cannot use the store /var/lib/avdetect/events.sqlite3: database or disk is full.")
    service.state.set_unstored(1, {"full": make_event("full", stage="closed", length_s=1.5)})
    page.wait_for("!document.querySelector('#trouble').hidden")
    page.open(service.url + "#")
    page.open(service.url)
    page.wait_for("document.querySelector('[data-id=full]')?.dataset.open === 'false'")

    assert "disk is full. 1 report waits in memory." in text_of(page, "#trouble")
    assert "so far" not in text_of(page, "[data-id=full]")

    service.state.set_store_trouble("")
    page.wait_for("document.querySelector('#trouble').hidden")


def test_a_clip_that_was_lost_says_why(page: Browser, service: LiveService) -> None:
    service.report(make_event("lost"))
    page.wait_for("document.querySelector('[data-id=lost]')")
    service.store.attach_clip("lost", None, None, failure="The clip is lost: no space left on the device.")
    service.state.on_clip(ClipReady("gate", "lost", None, None, "The clip is lost: no space left on the device."))
    page.wait_for("document.querySelector('[data-id=lost]').innerText.includes('no clip')")
    page.click("[data-id=lost] .show")

    assert text_of(page, "#viewer-message") == "The clip is lost: no space left on the device."


def test_how_loud_a_feed_is_and_what_it_lacks_is_on_its_card(page: Browser, service: LiveService) -> None:
    service.score("gate", 0.1, level_dbfs=-27.6)
    page.wait_for("document.querySelector('[data-feed=gate] .numbers').innerText.includes('-28 dBFS')")
    service.add_feed("silent", has_audio=False, has_video=True)
    page.wait_for("document.querySelector('[data-feed=silent] .numbers')?.innerText === 'no sound'")


def test_a_threshold_is_set_on_the_page_and_set_back(page: Browser, service: LiveService) -> None:
    page.click("[data-feed=gate] .feed-name")
    page.click("#detail-thresholds summary")
    field = "document.querySelector('#detail-thresholds li.threshold input')"
    before = page.wait_for(f"{field}?.value")
    page.run(f"const field = {field}; field.value = '0.73'; field.dispatchEvent(new Event('change'))")
    label = service.state.classes[0].name
    wait_until(lambda: service.store.thresholds("gate") == {label: 0.73}, "the threshold was never stored")
    page.wait_for("!document.querySelector('#detail-thresholds li.threshold button').disabled")
    assert page.run(f"return {field}.value") == "0.73"

    page.click("#detail-thresholds li.threshold button")
    wait_until(lambda: service.store.thresholds("gate") == {}, "the threshold was never set back")
    page.wait_for(f"{field}.value === '{before}'")
    assert page.complaints() == []
