"""Clips and thumbnails: in ranges, and nothing outside their folder."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.synth.live_service import LiveService, live_service

CONTENT = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """Beside the clips lie the store, a secret, a half-written clip, a text, and a link that leads out."""
    folder = tmp_path_factory.mktemp("files")
    with live_service(folder) as service:
        clips = service.clips_folder
        (clips / "a.mp4").write_bytes(CONTENT)
        (clips / "a.jpg").write_bytes(b"\xff\xd8picture")
        (clips / ".a.mp4.xyz.mp4").write_bytes(CONTENT)
        (clips / "notes.txt").write_text("private")
        (clips / "folder.mp4").mkdir()
        (folder / "secret.mp4").write_text("secret")
        (clips / "link.mp4").symlink_to(folder / "secret.mp4")
        yield service


@pytest.fixture
def client(service: LiveService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, trust_env=False) as client:
        yield client


def test_a_clip_comes_whole_with_its_type(client: httpx.Client) -> None:
    answer = client.get("/clips/a.mp4")

    assert answer.content == CONTENT
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["accept-ranges"] == "bytes"
    assert client.get("/thumbnails/a.jpg").headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("0-0", 0, 1), ("100-199", 100, 200), ("10000-", 10_000, 10_240), ("-40", 10_200, 10_240)],
)
def test_a_part_of_a_clip_can_be_asked_for(client: httpx.Client, asked: str, start: int, end: int) -> None:
    answer = client.get("/clips/a.mp4", headers={"Range": f"bytes={asked}"})

    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"
    assert answer.content == CONTENT[start:end]


def test_a_part_that_is_not_there_is_refused(client: httpx.Client) -> None:
    assert client.get("/clips/a.mp4", headers={"Range": "bytes=999999-"}).status_code == 416


def test_a_picture_that_has_not_changed_is_not_sent_again(client: httpx.Client) -> None:
    tag = client.get("/thumbnails/a.jpg").headers["etag"]

    assert client.get("/thumbnails/a.jpg", headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        "/clips/missing.mp4",
        "/clips/notes.txt",
        "/clips/.a.mp4.xyz.mp4",
        "/clips/folder.mp4",
        "/clips/link.mp4",
        "/clips/",
        "/clips/a.jpg",
        "/thumbnails/a.mp4",
        "/clips/../secret.mp4",
        "/clips/..%2fsecret.mp4",
        "/clips/%2e%2e/secret.mp4",
        "/clips/%2e%2e%2fsecret.mp4",
        "/clips/..%5csecret.mp4",
        "/clips//etc/passwd",
        "/clips/%2fetc%2fpasswd",
        "/clips/a.mp4%00.mp4",
        "/clips/" + "a" * 300 + ".mp4",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
    ],
)
def test_nothing_but_clips_and_pictures_can_be_had(service: LiveService, path: str) -> None:
    address = urlsplit(service.url)
    assert address.hostname is not None
    # By hand, for a client library would tidy up the path.
    with socket.create_connection((address.hostname, address.port or 0), timeout=60) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.split(b" ", 2)[1] in (b"404", b"400")
    assert b"secret" not in answer
