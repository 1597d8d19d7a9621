"""The gate in front of the page, without its server: requests as ASGI messages."""

import asyncio
import itertools
import json
import os
import types

import pytest

pytest.importorskip("python_multipart", reason="needs the extra app: pip install -e '.[app]'")

from experiments.webpage import access, uploads
from experiments.webpage.gate import MAX_BODY, Gate, Limits
from tests.experiments import commands

HOME = {"host": "127.0.0.1:7860"}
FORM = {"content-type": 'multipart/form-data; boundary="edge"'}
LIMITS = Limits(file_bytes=1000, total_bytes=300_000, stall_seconds=0.05, body_seconds=0.2)


class Inside:
    """The application behind the gate: reads the body and answers 200."""

    def __init__(self):
        self.bodies = []

    async def __call__(self, scope, receive, send):
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RuntimeError("the body is not whole")
            body += message["body"]
            if not message.get("more_body"):
                break
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"inside"})


def make_gate(folder, *, host="127.0.0.1", inside=None, limits=LIMITS, **rules):
    return Gate(inside or Inside(), folder, access=access.make_access(host, **rules), limits=limits)


def call(gate, path, headers=(), *, chunks=None, pause=0.0):
    return asyncio.run(call_async(gate, path, headers, chunks=chunks, pause=pause))


async def call_async(gate, path, headers=(), *, chunks=None, pause=0.0):
    """Return status, headers and body for a GET, or a POST of `chunks` with a pause before each.

    The client falls silent at a chunk that is None.
    """
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "GET" if chunks is None else "POST",
        "path": path,
        "query_string": query.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in (HOME | dict(headers)).items() if v],
    }
    rest, sent = list(chunks or [b""]), []

    async def receive():
        await asyncio.sleep(pause)
        chunk = rest.pop(0) if rest else None
        if chunk is None:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": chunk, "more_body": bool(rest)}

    async def send(message):
        sent.append(message)

    await gate(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body.decode()


def form(*files):
    parts = (
        b'--edge\r\nContent-Disposition: form-data; name=files; filename="a"\r\n\r\n' + content
        for content in files
    )
    return b"\r\n".join(parts) + b"\r\n--edge--\r\n"


def upload(gate, chunks, headers=(), **options):
    return call(gate, "/gradio_api/upload", FORM | dict(headers), chunks=chunks, **options)


def join(gate, path):
    body = json.dumps({"data": [{"path": path}]}).encode()
    return call(gate, "/gradio_api/queue/join", chunks=[body])[0]


def test_gate_takes_regular_files_of_the_folder_alone(tmp_path):
    folder = tmp_path / "uploads"
    (folder / "hash").mkdir(parents=True)
    (folder / "hash" / "song.wav").touch()
    (tmp_path / "secret").touch()
    (folder / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "pipe")
    gate = make_gate(folder)
    assert join(gate, str(folder / "hash" / "song.wav")) == 200
    refused = [folder, folder / "hash", folder / "none.wav", folder / "link", folder / "pipe"]
    for path in [*map(str, refused), f"{folder}/hash/", f"{folder}/hash/.", "", "x" * 5000]:
        assert join(gate, path) == 403, path
        assert call(gate, f"/gradio_api/file={path}")[0] in (403, 404)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "localhost:1"}, 200),  # Through a tunnel the port is another.
        ({"host": "[::1]:7860"}, 200),
        ({"host": "music.example"}, 403),
        ({"host": "127.0.0.1.music.example:7860"}, 403),
        ({"host": "192.168.0.7:7860"}, 403),
        ({"host": "a@localhost"}, 403),
        ({"host": "localhost:port"}, 403),
        ({"host": ""}, 403),
        ({"origin": "http://127.0.0.1:7860"}, 200),
        ({"origin": "https://127.0.0.1:7860"}, 200),  # A proxy speaks TLS.
        ({"origin": "http://127.0.0.1:8888"}, 403),
        ({"origin": "http://localhost:7860"}, 403),
        ({"origin": "https://music.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "file://127.0.0.1:7860"}, 403),
    ],
)
def test_gate_refuses_foreign_hosts_and_origins(tmp_path, headers, status):
    assert call(make_gate(tmp_path), "/", headers)[0] == status
    assert call(make_gate(tmp_path), "/gradio_api/reset", headers, chunks=[b"{}"])[0] == status


def test_gate_knows_more_names_beyond_loopback(tmp_path):
    gate = make_gate(tmp_path, host="0.0.0.0", allow_hosts=["Music.Example"])
    for host in ("192.168.0.7:7860", "[fe80::1]", "music.example", "localhost"):
        assert call(gate, "/", {"host": host})[0] == 200
    assert call(gate, "/", {"host": "evil.example"})[0] == 403
    assert access.is_loopback("127.0.0.9") and access.is_loopback("::1")
    assert not any(map(access.is_loopback, ("0.0.0.0", "::", "10.0.0.1", "music.example")))


def test_app_warns_if_everybody_can_use_the_page():
    warning = commands.load("app")._warning
    assert "--host=0.0.0.0" in warning("0.0.0.0", "") and "--token" in warning("10.0.0.7", "")
    assert not warning("0.0.0.0", "s3cret") and not warning("localhost", "")


def test_gate_lets_in_who_has_the_token(tmp_path):
    gate = make_gate(tmp_path, token="s3cret")
    assert call(gate, "/")[0] == call(gate, "/config")[0] == 401
    assert call(gate, "/?token=guess")[0] == call(gate, "/?token=")[0] == 401
    assert call(gate, "/config?token=s3cret")[0] == 401  # The link is to the page.
    assert call(gate, "/?token=s3cret", {"host": "evil.example"})[0] == 403
    status, headers, _ = call(gate, "/?token=s3cret")
    assert (status, headers[b"location"]) == (303, b"/")
    cookie, *rest = headers[b"set-cookie"].decode().split("; ")
    assert "HttpOnly" in rest and "SameSite=Lax" in rest
    assert call(gate, "/config", {"cookie": f"a=b; {cookie}"})[0] == 200
    assert call(gate, "/config", {"cookie": cookie.replace("s3cret", "guess")})[0] == 401
    assert make_gate(tmp_path, token="other")._access.cookie not in cookie  # On another port.


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_gate_passes_one_file_unchanged_and_refuses_two(tmp_path, size):
    inside = Inside()
    one, two = form(b"song"), form(b"song", b"other")
    pieces = [[whole[i : i + size] for i in range(0, len(whole), size)] for whole in (one, two)]
    assert upload(make_gate(tmp_path, inside=inside), pieces[0])[0] == 200
    assert inside.bodies == [one]
    status, headers, reason = upload(make_gate(tmp_path), pieces[1])
    assert (status, reason) == (400, "an upload is a form with one file")
    assert headers[b"connection"] == b"close"


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data", "multipart/mixed"])
def test_gate_refuses_an_upload_that_is_no_form(tmp_path, kind):
    assert upload(make_gate(tmp_path), [form(b"song")], {"content-type": kind})[0] == 400


def test_gate_refuses_a_large_upload_whether_it_says_so_or_not(tmp_path):
    inside = Inside()
    gate = make_gate(tmp_path, inside=inside)
    assert upload(gate, [b""], {"content-length": "1000000"})[0] == 413
    assert upload(gate, [b"x" * MAX_BODY] * 3)[0] == 413
    assert not inside.bodies


def test_gate_refuses_uploads_beyond_the_total(tmp_path):
    gate = make_gate(tmp_path)
    assert upload(gate, [form(b"song")])[0] == 200
    (tmp_path / "large").write_bytes(bytes(250_000))
    assert upload(gate, [form(b"song")])[0] == 507
    assert upload(gate, [form(b"song")], {"content-length": "200"})[0] == 200
    (tmp_path / "large").unlink()
    for name in range(80):  # Empty files take space too.
        (tmp_path / str(name)).touch()
    assert upload(gate, [form(b"song")], {"content-length": "200"})[0] == 507


def test_gate_reserves_the_room_of_uploads_under_way(tmp_path):
    async def several():
        gate = make_gate(tmp_path, limits=Limits(1000, 3 * MAX_BODY, stall_seconds=0.05))
        stalled = (
            call_async(gate, "/gradio_api/upload", FORM, chunks=[b"--edge\r\n", None])
            for _ in range(6)
        )
        return [status for status, *_ in await asyncio.gather(*stalled)], gate

    statuses, gate = asyncio.run(several())
    assert sorted(statuses) == [408, 408, 507, 507, 507, 507]
    assert upload(gate, [form(b"song")])[0] == 200  # The room of those that stalled is free again.


def test_gate_ends_requests_that_stall_or_drip(tmp_path):
    gate = make_gate(tmp_path)
    assert upload(gate, [b"--edge\r\n", None])[0] == 408
    assert call(gate, "/gradio_api/queue/join", chunks=[b"{", None])[0] == 403
    drips = [b"x"] * 100
    assert upload(gate, drips, pause=0.01)[0] == 408
    assert call(gate, "/gradio_api/queue/join", chunks=drips, pause=0.01)[0] == 403
    slow = [form(b"song")[i : i + 20] for i in range(0, len(form(b"song")), 20)]
    assert upload(gate, slow, pause=0.01)[0] == 200


@pytest.mark.parametrize(
    "body",
    ["", "[]", "null", '{"data": 3}', '{"data": ["song.wav"]}', '{"data": [{"url": "http://a"}]}',
     '{"data": [{"path": null, "url": "http://a"}]}', '{"data": [[{"path": "a"}]]}', "[" * 9999],
)  # fmt: skip
def test_gate_passes_requests_about_uploads_or_nothing(tmp_path, body):
    gate = make_gate(tmp_path)
    assert call(gate, "/gradio_api/queue/join", chunks=[body.encode()])[0] == 403
    for nothing in (b"{}", b'{"data": [null]}'):
        assert call(gate, "/gradio_api/queue/join", chunks=[nothing])[0] == 200


def test_gate_prints_one_line_for_a_failure_of_the_application(tmp_path, capsys):
    async def fails(scope, receive, send):
        raise OSError("line 1\n\x1b[31mline 2" + "x" * 999)

    with pytest.raises(IndexError):  # The application has not answered.
        call(make_gate(tmp_path, inside=fails), "/config")
    err = capsys.readouterr().err
    assert err.startswith("failed    GET /config: OSError: line 1") and err.count("\n") == 1
    assert "\x1b" not in err and len(err) < 400


def test_gate_shows_nothing_that_the_page_does_not_need(tmp_path):
    for path in ("/gradio_api/info", "/docs", "/gradio_api/proxy=http://a", "http://a/", "/a\nb"):
        assert call(make_gate(tmp_path), path)[0] == 404
    assert call(make_gate(tmp_path), "/gradio_api/run/predict", chunks=[b"{}"])[0] == 404


def test_folder_is_removed_with_those_of_killed_pages_and_not_of_living_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    killed = tmp_path / "mgr_jax_app_killed"
    (killed / "hash").mkdir(parents=True)
    (killed / "hash" / "song.wav").touch()
    (tmp_path / ".mgr_jax_app_killed.lock").touch()
    (tmp_path / "mgr_jax_application").mkdir()
    with uploads.open_folder() as living:
        assert not killed.exists()
        assert living.stat().st_mode & 0o777 == 0o700
        with uploads.open_folder() as other:
            (other / "song.wav").touch()
        assert living.is_dir() and not other.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["mgr_jax_application"]


def test_delete_old_spares_the_new_and_whatever_cannot_be_deleted(tmp_path):
    def make(name, age):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        times = (path.stat().st_mtime - age,) * 2
        os.utime(path, times)
        os.utime(path.parent, times)
        return path

    old, new = make("a/old.wav", 4000), make("b/new.wav", 100)
    kept = make("c/kept.wav", 100)
    os.utime(kept.parent, (0, 0))  # An old folder that is not empty cannot be deleted.
    partial, abandoned = make("partial", 100), make("abandoned", 1000)
    (tmp_path / "d" / "e").mkdir(parents=True)
    for path in (tmp_path / "d" / "e", tmp_path / "d"):
        os.utime(path, (0, 0))
    uploads.delete_old(tmp_path, partial_age=500)
    assert not old.exists() and new.exists() and kept.exists()
    assert partial.exists() and not abandoned.exists()
    assert not (tmp_path / "d" / "e").exists()
    assert uploads.disk_usage(tmp_path) >= 4096 * 5


@pytest.mark.e2e
def test_cleaning_goes_on_after_an_error(tmp_path, monkeypatch, capsys):
    server = pytest.importorskip("experiments.webpage.server")

    calls = []

    def delete_old(folder, *, partial_age):
        calls.append(folder)
        raise [IsADirectoryError("a folder"), RuntimeError("anything")][len(calls) % 2]

    async def clean():
        page = types.SimpleNamespace(temp_file_sets=[])
        task = asyncio.create_task(server._clean(page, tmp_path, partial_age=1))
        while len(calls) < 4:
            await asyncio.sleep(0.01)
        task.cancel()

    monkeypatch.setattr(server.uploads, "delete_old", delete_old)
    monkeypatch.setattr(server, "_CLEAN_SECONDS", 0.01)
    asyncio.run(asyncio.wait_for(clean(), 10))
    assert "IsADirectoryError: a folder" in capsys.readouterr().err


@pytest.mark.e2e
def test_connections_on_which_nothing_happens_are_closed():
    server = pytest.importorskip("experiments.webpage.server")

    class Connection:
        def __init__(self, *unsent, cycle=None):
            self.cycle, self.transport, self.closed = cycle, self, False
            self.unsent = itertools.chain(unsent[:-1], itertools.repeat(unsent[-1]))

        def get_write_buffer_size(self):
            return next(self.unsent)

        def abort(self):
            self.closed = True

    busy = types.SimpleNamespace(response_complete=False)
    done = types.SimpleNamespace(response_complete=True)
    kept = [
        Connection(0, cycle=busy),  # It computes, or has nothing to tell.
        Connection(*range(9, 999), cycle=busy),  # The client reads, slowly.
    ]
    closed = [
        Connection(0),  # Half a head.
        Connection(0, cycle=done),  # Half the head of a second request.
        Connection(9, 8, 7, cycle=busy),  # The client has stopped reading.
    ]
    state = types.SimpleNamespace(connections={*kept, *closed})

    async def watch():
        task = asyncio.create_task(
            server._close_silent(types.SimpleNamespace(server_state=state), 0.05)
        )
        await asyncio.sleep(0.3)
        task.cancel()

    asyncio.run(watch())
    assert [c.closed for c in kept] == [False] * 2 and [c.closed for c in closed] == [True] * 3
