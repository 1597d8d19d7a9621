"""The server of the page, over HTTP."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
import soundfile

from experiments.webpage import uploads
from tests.experiments import commands
from tests.experiments.webpage.client import (
    FORM,
    answer,
    begin_upload,
    connect,
    join,
    needs_gradio,
    percent,
    request,
    send,
)

pytestmark = [pytest.mark.e2e, needs_gradio]


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
