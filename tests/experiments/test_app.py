"""The web page: its server over HTTP, and the page in a browser."""

import concurrent.futures
import contextlib
import importlib.util
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
import soundfile

from experiments.webpage import uploads
from mgr_jax import predictor as predictor_lib
from tests.experiments import commands

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        importlib.util.find_spec("gradio") is None, reason="needs Gradio: pip install -e '.[app]'"
    ),
]
in_browser = pytest.mark.skipif(
    BROWSER is None or importlib.util.find_spec("playwright") is None,
    reason="needs Chromium (apt-get install chromium) and Playwright (pip install playwright)",
)
# Runs in the server and in every process that it starts: logs and refuses their network access.
WATCH = """
import os, sys
def watch(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host not in ("127.0.0.1", "::1", "localhost", None):
        with open(os.environ["NETWORK_LOG"], "a") as file:
            file.write(f"{event} {host}\\n")
        raise OSError(f"no network: {host}")
sys.addaudithook(watch)
"""


@pytest.fixture(name="server", scope="module")
def _server(cache, trained, tmp_path_factory):
    """Address of the page, and the folder with the log of its server's network access."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "sitecustomize.py").write_text(WATCH)
    (folder / "mgr_jax_app_killed" / "hash").mkdir(parents=True)  # Left by an earlier page.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("NETWORK_LOG", str(folder / "network.log"))
        patch.setenv("GRADIO_ALLOWED_PATHS", "/")
        patch.setenv("TMPDIR", str(folder))
        limits = ("--max_mb=1", "--max_minutes=0.1")
        process = commands.start(cache, "app", f"--workdir={trained}", "--port=0", *limits)
    try:
        for line in process.stdout:
            if line.startswith("page "):
                address = line.split()[1]
                break
        else:
            pytest.fail(process.stderr.read())
        (folder / "pid").write_text(str(process.pid))
        yield address, folder
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in err, err
    assert not list(folder.glob("mgr_jax_app_*")), "uploads are left behind"
    assert not (folder / "network.log").exists(), (folder / "network.log").read_text()


@pytest.fixture(name="songs", scope="module")
def _songs(tmp_path_factory):
    """Three songs of different kinds, and files that are none."""
    folder, random = tmp_path_factory.mktemp("songs"), np.random.default_rng(0)
    time = np.arange(3 * 8000) / 8000
    noise = 0.1 * random.normal(size=time.size)
    soundfile.write(folder / "noise.wav", noise, 8000)
    soundfile.write(folder / "tone.mp3", 0.3 * np.sin(2 * np.pi * 440 * time) + 0.01 * noise, 16000)
    soundfile.write(folder / "tone.aiff", 0.3 * np.sin(2 * np.pi * 440 * time), 8000)
    soundfile.write(folder / "sweep.flac", 0.3 * np.sin(900 * time**2), 8000)
    soundfile.write(folder / "silence.wav", np.zeros(8000), 8000)
    soundfile.write(folder / "long.ogg", 0.1 * random.normal(size=8000 * 8), 8000)
    (folder / "text.wav").write_text("This is a letter.\n" * 20)
    soundfile.write(folder / "large.wav", 0.1 * random.normal(size=600_000), 48_000)
    return folder


@pytest.fixture(name="expected", scope="module")
def _expected(trained, songs):
    """Song -> label -> probability, by the library."""
    loaded = predictor_lib.load(str(trained))
    names = ("noise.wav", "tone.mp3", "sweep.flac")
    return {name: loaded.predict(str(songs / name)).probabilities for name in names}


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


def percent(probabilities):
    return {label: f"{100 * value:.1f} %" for label, value in probabilities.items()}


@in_browser
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


@in_browser
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


@in_browser
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


@in_browser
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


@in_browser
def test_page_refuses_a_large_file_before_it_is_sent(open_page, songs):
    page = open_page()
    upload(page, songs / "large.wav")
    page.wait_for_selector("text=/exceed the maximum allowed size of 1(\\.0)? ?Mb/i")


@in_browser
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


@in_browser
def test_page_answers_several_people_at_once(open_page, songs, expected):
    pages = {name: open_page() for name in expected}
    for name, page in pages.items():
        upload(page, songs / name)
    for name, page in pages.items():
        assert shown(page) == percent(expected[name])


FORM = {"Content-Type": "multipart/form-data; boundary=edge"}


def request(url, data=None, headers=None):
    """Return status and body of the response."""
    message = urllib.request.Request(url, data, headers or {})
    try:
        with urllib.request.urlopen(message, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def send(address, path):
    """Upload a file over HTTP; return the status, and the path on the server."""
    body = (
        b"--edge\r\nContent-Disposition: form-data; name=files; filename="
        + path.name.encode()
        + b"\r\n\r\n"
        + path.read_bytes()
        + b"\r\n--edge--\r\n"
    )
    return request(f"{address}gradio_api/upload", body, FORM)


def join(address, path, session, headers=None):
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    body = {"data": [file], "fn_index": 0, "session_hash": session}
    headers = {"Content-Type": "application/json"} | (headers or {})
    return request(f"{address}gradio_api/queue/join", json.dumps(body).encode(), headers)


def answer(address, path, session):
    """Return the events of the answer for a song, which is uploaded first."""
    status, uploaded = send(address, path)
    assert status == 200, uploaded
    assert join(address, json.loads(uploaded)[0], session)[0] == 200
    _, events = request(f"{address}gradio_api/queue/data?session_hash={session}")
    return events.decode().replace("\\u003c", "<").replace("\\u003e", ">").replace('\\"', '"')


def memory_mib(folder):
    """Return the resident memory of the server."""
    pages = pathlib.Path(f"/proc/{(folder / 'pid').read_text()}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_server_answers_requests_in_parallel_each_with_its_own(server, songs, expected):
    address = server[0]

    def ask(item):
        number, name = item
        return name, answer(address, songs / name, f"session{number}")

    jobs = list(enumerate([*expected, *expected]))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for name, events in pool.map(ask, jobs):
            assert name.removesuffix(".wav") in events
            for value in percent(expected[name]).values():
                assert f">{value}<" in events


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file={secret}",
        "gradio_api/file=/etc/passwd",
        "gradio_api/file={uploads}/../{name}/secret",
        "gradio_api/file=%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "gradio_api/file=//etc/passwd",
        "gradio_api/file=README.md",
        "gradio_api/file=http://127.0.0.1:9/",
        "gradio_api/file=a%00b",
        "gradio_api/proxy=http://127.0.0.1:9/",
        "gradio_api/info",
        "gradio_api/openapi.json",
        "file={secret}",
        "static/../../../../../../../../etc/passwd",
        "static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "assets/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "monitoring",
        "docs",
    ],
)
def test_server_shows_no_file_of_another_place(server, path):
    address, folder = server
    (folder / "secret").write_text("root: a secret")
    uploads = next(folder.glob("mgr_jax_app_*"))
    url = path.format(secret=folder / "secret", uploads=uploads, name=f"../{folder.name}")
    status, body = request(address + url)
    assert status in (400, 403, 404) and b"root:" not in body


@pytest.mark.parametrize(
    "path", ["/etc/hostname", "http://example.com/song.wav", "https://127.0.0.1:9/a.wav", 3, ["/"]]
)
def test_server_hears_no_file_of_another_place(server, path):
    assert join(server[0], path, "stranger")[0] == 403


def test_server_refuses_large_uploads_and_requests(server, songs):
    address, _ = server
    size = (songs / "large.wav").stat().st_size
    with begin_upload(address, size) as connection:  # It is refused before it is sent.
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")
    kind = {"Content-Type": "application/json"}
    status, _ = request(f"{address}gradio_api/queue/join", b"[" * 100_000, kind)
    assert status == 403
    assert request(f"{address}gradio_api/queue/join", b"[" * 10_000, kind)[0] == 403
    assert request(f"{address}gradio_api/vibe-edit", b"{}", kind)[0] == 404


def test_server_takes_uploaded_files_alone_and_one_a_request(server, songs):
    address, _ = server
    _, uploaded = send(address, songs / "noise.wav")
    path = pathlib.Path(json.loads(uploaded)[0])
    assert join(address, str(path), "session")[0] == 200
    for refused in (path.parent, path.parents[1], f"{path}x", f"{path.parent}/"):
        assert join(address, str(refused), "session")[0] == 403
    part = b"--edge\r\nContent-Disposition: form-data; name=files; filename=a\r\n\r\nx\r\n"
    url = f"{address}gradio_api/upload"
    assert request(url, part + b"--edge--\r\n", FORM)[0] == 200
    assert request(url, part + part + b"--edge--\r\n", FORM)[0] == 400


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://music.example"}, {"Origin": "null"}, {"Host": "music.example:7860"}],
)
def test_server_refuses_other_sites(server, songs, headers):
    address, _ = server
    assert request(address, headers=headers)[0] == 403
    assert request(f"{address}gradio_api/upload", b"", FORM | headers)[0] == 403
    _, uploaded = send(address, songs / "noise.wav")
    assert join(address, json.loads(uploaded)[0], "other", headers)[0] == 403
    preflight = urllib.request.Request(address, headers=headers, method="OPTIONS")
    preflight.add_header("Access-Control-Request-Method", "POST")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(preflight, timeout=60)


def connect(address):
    url = urllib.parse.urlsplit(address)
    return socket.create_connection((url.hostname, url.port), timeout=60)


def begin_upload(address, size):
    """Return a connection on which the head of an upload of `size` bytes has been sent."""
    connection, host = connect(address), urllib.parse.urlsplit(address).netloc
    connection.sendall(
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n"
        "Content-Type: multipart/form-data; boundary=edge\r\n\r\n".encode()
    )
    return connection


def test_server_takes_slow_uploads_and_survives_those_that_break_off(server, songs):
    address, _ = server
    body = (
        b'--edge\r\nContent-Disposition: form-data; name=files; filename="slow.wav"\r\n\r\n'
        + (songs / "noise.wav").read_bytes()
        + b"\r\n--edge--\r\n"
    )
    for _ in range(20):
        with begin_upload(address, len(body)) as connection:
            connection.sendall(body[:1000])
    with begin_upload(address, len(body)) as connection:
        for first in range(0, len(body), 8000):
            connection.sendall(body[first : first + 8000])
            time.sleep(0.1)
        reply = connection.recv(10_000).decode()
    assert reply.startswith("HTTP/1.1 200") and "slow.wav" in reply
    assert "noise.wav" in answer(address, songs / "noise.wav", "after")


def test_server_survives_files_that_decode_to_much_more(server, tmp_path):
    """Of a huge declared length, and of many channels at a high rate, in few bytes."""
    address, folder = server
    before = memory_mib(folder)
    soundfile.write(tmp_path / "wide.flac", np.zeros((384_000 * 5, 8), np.int16), 384_000)
    soundfile.write(tmp_path / "whole.wav", 0.1 * np.ones(8000), 8000)
    content = bytearray((tmp_path / "whole.wav").read_bytes())
    content[4:8] = content[40:44] = b"\xf0\xff\xff\xff"  # Sizes of the file and of its samples.
    (tmp_path / "endless.wav").write_bytes(content)
    for name in ("wide.flac", "endless.wav"):
        assert (tmp_path / name).stat().st_size < 2**20
        events = answer(address, tmp_path / name, name.partition(".")[0])
        assert 'class="card' in events and "process_completed" in events
    assert memory_mib(folder) < before + 300


@pytest.mark.slow
def test_server_memory_levels_off(server, songs):
    address, folder = server
    sizes = []
    for turn in range(4):
        for number in range(100):
            assert "noise.wav" in answer(address, songs / "noise.wav", f"turn{turn}x{number}")
        sizes.append(memory_mib(folder))
    assert sizes[3] - sizes[1] < 4, sizes  # 7 if the state of every session is kept.


@pytest.mark.slow
def test_server_ends_connections_that_stall(server, songs):
    """300 uploads and 100 heads that stop in the middle are closed, and the page answers on."""
    address, _ = server
    stalled = [begin_upload(address, 20_000) for _ in range(300)]
    for connection in stalled:
        with contextlib.suppress(ConnectionError):  # Beyond the total, it is refused at once.
            connection.sendall(b"--edge\r\n")
    for _ in range(100):
        stalled.append(connect(address))
        stalled[-1].sendall(b"GET / HTTP/1.1\r\nHost: ")
    began = time.monotonic()
    assert "noise.wav" in answer(address, songs / "noise.wav", "meanwhile")
    for connection in stalled:
        connection.settimeout(60)
        with contextlib.suppress(ConnectionError):
            while connection.recv(10_000):
                pass
        connection.close()
    assert time.monotonic() - began < 60


def test_app_with_a_token_lets_in_who_has_the_link(cache, trained, tmp_path, monkeypatch):
    """And when it is killed, the next page removes its uploads."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process = commands.start(
        cache, "app", f"--workdir={trained}", "--port=0", "--host=0.0.0.0", "--token"
    )
    try:
        link = next(line for line in process.stdout if line.startswith("page ")).split()[1]
        address = link.partition("?")[0]
        assert request(address)[0] == request(f"{address}config")[0] == 401
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(link, timeout=60) as page:
            assert page.url == address and b"gradio" in page.read()
        with opener.open(f"{address}config", timeout=60) as config:
            assert config.status == 200
    finally:
        process.kill()
        process.communicate(timeout=30)
    assert len(list(tmp_path.glob("mgr_jax_app_*"))) == 1
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    with uploads.open_folder() as folder:
        assert list(tmp_path.glob("mgr_jax_app_*")) == [folder]


def test_app_names_what_is_wrong_in_one_line(cache, trained, server, tmp_path):
    port = urllib.parse.urlsplit(server[0]).port
    line = commands.fails(cache, "app", f"--workdir={trained}", f"--port={port}")
    assert f"--port {port}: cannot be listened at" in line
    line = commands.fails(cache, "app", f"--workdir={trained}", "--max_total_mb=50")
    assert "--max_total_mb is 50" in line
    line = commands.fails(cache, "app", f"--workdir={tmp_path}", "--port=0")
    assert "no config.json" in line
