"""Clips a detection names: only allowed hosts, only below the folder, only so large."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.errors import InboundError, QueueFull
from pipeline.inbound.fetch import check_path, check_url, downloaded
from pipeline.settings import Settings

MP4 = b"\x00\x00\x00\x18ftypisom" + b"\x00" * 64


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/elsewhere":
                self.send_response(302)
                self.send_header("location", "/clip")
                self.end_headers()
                return
            body = {
                "/clip": MP4,
                "/big": MP4 + b"x" * (1 << 21),
                "/text": b"hello, world\n",
                "/none": b"",
            }.get(self.path)
            self.send_response({"/busy": 503}.get(self.path, 200 if body is not None else 404))
            # No content-length: what counts is what comes.
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("hosts", "url", "allowed"),
    [
        ("", "http://nvr/clip.mp4", False),
        ("nvr", "http://nvr/clip.mp4", True),
        ("nvr", "https://NVR/clip.mp4?key=1", True),
        ("nvr", "http://nvr:8080/clip.mp4", False),
        ("nvr:8080, other", "http://nvr:8080/clip.mp4", True),
        ("nvr", "http://nvr.evil.example/clip.mp4", False),
        ("nvr", "http://evil.example/nvr", False),
        ("nvr", "http://user:secret@nvr/clip.mp4", False),
        ("nvr", "http://nvr@evil.example/clip.mp4", False),
        ("nvr", "http://169.254.169.254/latest", False),
        ("127.0.0.1", "http://127.0.0.1:99999/x", False),
        ("[::1]:80", "http://[::1]/clip.mp4", True),
        ("nvr", "gopher://nvr/", False),
    ],
)
def test_only_allowed_hosts(
    make_settings: Callable[..., Settings], hosts: str, url: str, allowed: bool
) -> None:
    settings = make_settings(clip_hosts=hosts)
    if allowed:
        assert "key=" not in check_url(url, settings)
        return
    with pytest.raises(InboundError) as caught:
        check_url(url, settings)
    assert "secret" not in caught.value.one_line()


def test_only_below_the_folder(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    """Given a clip folder, when a path leads out of it, by dots or by a link, then it is refused."""
    folder, outside = tmp_path / "clips", tmp_path / "outside.mp4"
    (folder / "deep").mkdir(parents=True)
    outside.write_bytes(MP4)
    (folder / "deep" / "in.mp4").write_bytes(MP4)
    (folder / "link.mp4").symlink_to(outside)
    settings = make_settings(clip_folder=folder)

    assert check_path("deep/in.mp4", settings) == (folder / "deep" / "in.mp4").resolve()
    assert check_path(str(folder / "deep" / "in.mp4"), settings).name == "in.mp4"
    for path in ("../outside.mp4", str(outside), "link.mp4", "/etc/passwd", "none.mp4", "deep", "", "a\0b"):
        with pytest.raises(InboundError):
            check_path(path, settings)
    with pytest.raises(InboundError, match="not be named by path"):
        check_path("deep/in.mp4", make_settings())


def test_what_a_server_may_do(make_settings: Callable[..., Settings], server: str) -> None:
    settings = make_settings(detection_max_mb=1)
    with downloaded(f"{server}/clip", "c", settings) as file:
        assert file.read_bytes() == MP4 and file.suffix == ".mp4"
    assert not file.exists()
    for path, said in (
        ("/elsewhere", "answers 302"),
        ("/big", "more than 1 MB"),
        ("/text", "not a video"),
        ("/none", "empty"),
        ("/missing", "answers 404"),
    ):
        with pytest.raises(InboundError, match=said), downloaded(server + path, "c", settings):
            pass
    with pytest.raises(QueueFull), downloaded(f"{server}/busy", "c", settings):
        pass
    with pytest.raises(QueueFull), downloaded("http://127.0.0.1:1/x", "c", settings):
        pass
