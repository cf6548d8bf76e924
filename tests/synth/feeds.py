"""Live sources for tests: real servers, each on a free port of the loopback device, always stopped."""

from __future__ import annotations

import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.synth.programs import NGINX_RTMP, SYSTEM_PYTHON

LOOPBACK = "127.0.0.1"
STARTS_WITHIN_S = 120.0

RTSP_SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer

path, port, user, password = sys.argv[1:]
Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service=port)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    f'( filesrc location="{path}" ! qtdemux name=demux '
    "demux. ! queue ! h264parse ! rtph264pay config-interval=-1 name=pay0 pt=96 "
    "demux. ! queue ! aacparse ! rtpmp4gpay name=pay1 pt=97 )"
)
factory.set_shared(True)
if user:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("viewer", "media.factory.access", True)
    permissions.add_permission_for_role("viewer", "media.factory.construct", True)
    factory.set_permissions(permissions)
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"""

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
load_module {module};
events {{}}
rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; }} }} }}
"""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """One that nobody listens at just now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str], **options: object) -> Iterator[subprocess.Popen[str]]:
    """A program, killed at the end."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def sending(path: Path, url: str, *options: str) -> list[str]:
    """The command that sends a file as it is, at the speed at which it plays."""
    return ["ffmpeg", "-v", "error", "-nostdin", "-re", "-i", str(path), "-c", "copy", *options, url]


def wait_for_port(port: int) -> None:
    """Until somebody listens at ``port``."""
    deadline = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens at port {port}"
            time.sleep(0.05)


Play = Callable[[socket.socket, int], None]
"""Serves a connection, whose number (from 0) it is told; the connection is closed after it."""


@contextmanager
def tcp_server(play: Play) -> Iterator[str]:
    """Serves each connection with ``play``; the URL."""
    count = iter(range(1_000_000))

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with self.request:
                try:
                    play(self.request, next(count))
                except OSError:  # the client has gone
                    return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server((LOOPBACK, 0), Handler) as server:
        yield from _serving(server, "tcp")


def send_in_time(connection: socket.socket, data: bytes, duration_s: float, *, slice_s: float = 0.02) -> None:
    """Send ``data`` evenly over ``duration_s``."""
    num_slices = max(1, round(duration_s / slice_s))
    began = time.monotonic()
    for at in range(num_slices):
        connection.sendall(data[len(data) * at // num_slices : len(data) * (at + 1) // num_slices])
        time.sleep(max(0.0, began + (at + 1) * slice_s - time.monotonic()))


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler] | partial[SimpleHTTPRequestHandler]) -> Iterator[str]:
    """Serves with ``handler``; the URL, without a slash at its end."""
    with ThreadingHTTPServer((LOOPBACK, 0), handler) as server:
        server.daemon_threads = True
        yield from _serving(server, "http")


def _serving(server: socketserver.TCPServer, scheme: str) -> Iterator[str]:
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.05), daemon=True)
    thread.start()
    try:
        yield f"{scheme}://{LOOPBACK}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()


class QuietFiles(SimpleHTTPRequestHandler):
    """Serves a folder without a line for each request."""

    def log_message(self, *_: object) -> None: ...


@contextmanager
def hls_server(source: Path, folder: Path) -> Iterator[str]:
    """A live HLS stream of one-second segments; the URL of its playlist."""
    playlist = folder / "live.m3u8"
    command = sending(source, str(playlist), "-f", "hls", "-hls_time", "1", "-hls_flags", "delete_segments")
    with running(command), http_server(partial(QuietFiles, directory=str(folder))) as url:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not playlist.exists():
            assert time.monotonic() < deadline, "ffmpeg has made no playlist"
            time.sleep(0.05)
        yield f"{url}/{playlist.name}"


@contextmanager
def mjpeg_server(jpegs: Sequence[bytes], *, rate_hz: float) -> Iterator[str]:
    """Motion JPEG over HTTP as cameras send it, for ever; the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            began, number = time.monotonic(), 0
            try:
                while True:
                    jpeg = jpegs[number % len(jpegs)]
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                    number += 1
                    time.sleep(max(0.0, began + number / rate_hz - time.monotonic()))
            except OSError:
                return

        def log_message(self, *_: object) -> None: ...

    with http_server(Handler) as url:
        yield f"{url}/video.mjpg"


@contextmanager
def rtmp_server(source: Path, folder: Path) -> Iterator[str]:
    """nginx, to which ffmpeg publishes; the URL."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(module=NGINX_RTMP, folder=folder, port=port))
    url = f"rtmp://{LOOPBACK}:{port}/live/test"
    with running(["nginx", "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]):
        wait_for_port(port)
        with running(sending(source, url, "-f", "flv")):
            yield url


@contextmanager
def rtsp_server(mp4: Path, *, user: str = "", password: str = "") -> Iterator[str]:
    """GStreamer's RTSP server, which plays a file of H.264 and AAC; the URL, without credentials."""
    port = free_port()
    command = [SYSTEM_PYTHON, "-c", RTSP_SERVER, str(mp4), str(port), user, password]
    with running(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield f"rtsp://{LOOPBACK}:{port}/live"
