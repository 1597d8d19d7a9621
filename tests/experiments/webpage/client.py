"""Requests to the server of the page."""

import importlib.util
import json
import socket
import urllib.error
import urllib.parse
import urllib.request

import pytest

needs_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="needs Gradio: pip install -e '.[app]'"
)
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


def percent(probabilities):
    return {label: f"{100 * value:.1f} %" for label, value in probabilities.items()}
