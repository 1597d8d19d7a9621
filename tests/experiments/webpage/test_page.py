"""The page in a browser."""

import importlib.util
import os
import re
import shutil

import pytest

from tests.experiments.webpage.client import needs_gradio, percent

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = [
    pytest.mark.e2e,
    needs_gradio,
    pytest.mark.skipif(
        BROWSER is None or importlib.util.find_spec("playwright") is None,
        reason="needs Chromium (apt-get install chromium) and Playwright (pip install playwright)",
    ),
]


@pytest.fixture(name="browser", scope="module")
def _browser():
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=BROWSER, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture(name="open_page")
def _open_page(server, browser):
    """Opens the page in a browser that reaches no host but its server."""
    address, contexts, foreign = server[0], [], []

    def open_page(width=1280):
        contexts.append(browser.new_context(viewport={"width": width, "height": 844}))
        page = contexts[-1].new_page()

        def check(route):
            if route.request.url.startswith(address):
                route.continue_()
            else:
                foreign.append(route.request.url)
                route.abort()

        page.route(re.compile("^(http|ws)"), check)
        page.goto(address)
        page.wait_for_selector("#song input[type=file]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not foreign


def upload(page, path):
    page.set_input_files("#song input[type=file]", str(path))


def shown(page):
    """Return label -> the text beside its bar."""
    page.wait_for_selector("#answer .bars")
    rows = page.locator("#answer .bars li").all_inner_texts()
    return {row.split("\n")[0]: row.split("\n")[1] for row in rows}


@pytest.mark.parametrize("name", ["noise.wav", "tone.mp3"])
def test_page_shows_what_the_predictor_says(open_page, songs, expected, name):
    page = open_page()
    upload(page, songs / name)
    bars = shown(page)
    assert bars == percent(expected[name]) and list(bars) == list(expected[name])
    text = page.inner_text("#answer")
    first, lead = next(iter(expected[name])), page.inner_text("#answer .lead")
    assert name in text
    if expected[name][first] < 0.5:
        assert lead.startswith("Not sure: ") and f"% sure of {first} (" in text
    else:
        assert lead == f"This sounds like {first}."
    picture = page.locator("#answer img").evaluate("e => [e.naturalWidth, e.naturalHeight]")
    assert picture[0] > 50 and picture[1] == 16
    assert page.locator("#answer .timeline li").count() == 10
    page.wait_for_function("document.querySelector('#song audio').readyState == 4")
    announced = page.inner_text("p[role=status]")
    assert announced.startswith(f"{lead} The model is {bars[first]} sure")


PLAYER = """() => {
  const [song, range] = [document.querySelector("#song audio"), document.querySelector(".seek")];
  return [range.value, song.currentTime, song.paused, range.getAttribute("aria-valuetext")];
}"""


def test_page_plays_an_example_from_the_moment_that_is_clicked(open_page):
    page = open_page()
    page.focus("#examples button:text-is('jazz')")
    page.keyboard.press("Enter")
    shown(page)
    assert "jazz, played by a program.wav" in page.inner_text("#answer")
    page.wait_for_function("document.querySelector('#song audio').readyState == 4")
    assert page.evaluate("document.querySelector('#song audio').duration") == pytest.approx(6)
    box = page.locator(".seek").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 20)
    page.wait_for_function("document.querySelector('#song audio').currentTime > 3.1")
    assert page.evaluate(PLAYER)[2] is False
    page.keyboard.press("Enter")
    value, seconds, paused, text = page.evaluate(PLAYER)
    assert paused and 2.9 < seconds <= 6 and re.fullmatch(r"\d\.\d s, \w+ \d+ %", text)
    for key, expected in (("Home", 0), ("ArrowRight", 0.3), ("PageUp", 1.5), ("ArrowLeft", 1.2)):
        page.keyboard.press(key)
        value, seconds, paused, text = page.evaluate(PLAYER)
        assert float(value) == pytest.approx(seconds, abs=0.02)
        assert seconds == pytest.approx(expected, abs=0.02) and paused
        assert text.startswith(f"{expected:.1f} s, ")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("text.wav", "text.wav cannot be decoded (Format not recognised)"),
        ("silence.wav", "silence.wav is silent"),
        ("long.ogg", "long.ogg is longer than 0.1 minutes"),
    ],
)
def test_page_says_what_is_wrong_with_a_file(open_page, songs, name, reason):
    page = open_page()
    upload(page, songs / name)
    page.wait_for_selector("#answer [role=alert]")
    assert reason in page.inner_text("#answer")


def test_page_says_when_the_browser_cannot_play_what_the_model_hears(open_page, songs):
    page = open_page()
    upload(page, songs / "tone.aiff")
    shown(page)
    page.wait_for_function("document.querySelector('#song audio')?.error")
    assert "This browser cannot play the file" in page.inner_text("#answer .hint")
    page.focus(".seek")
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    assert page.evaluate(PLAYER)[3].startswith("3.0 s, ")


def test_page_refuses_a_large_file_before_it_is_sent(open_page, songs):
    page = open_page()
    upload(page, songs / "large.wav")
    page.wait_for_selector("text=/exceed the maximum allowed size of 1(\\.0)? ?Mb/i")


def test_page_says_which_model_answers_and_fits_a_phone(open_page, songs):
    page = open_page(width=390)
    upload(page, songs / "sweep.flac")
    shown(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    text = page.inner_text("#behind")
    assert "Bottom-up Broadcast network" in text and "listed" in text
    # The answer comes above the facts about the model.
    answer, behind = (page.locator(f"#{name}").bounding_box()["y"] for name in ("answer", "behind"))
    assert answer < behind


def test_page_answers_several_people_at_once(open_page, songs, expected):
    pages = {name: open_page() for name in expected}
    for name, page in pages.items():
        upload(page, songs / name)
    for name, page in pages.items():
        assert shown(page) == percent(expected[name])
