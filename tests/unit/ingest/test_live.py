"""A camera that breaks, stalls, freezes and comes back: a real HTTP MJPEG server on loopback."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import pytest

from pipeline.errors import SourceError
from pipeline.ingest import open_source
from pipeline.ingest.address import without_credentials
from pipeline.ingest.live import LiveParams, LiveSource
from pipeline.types import Frame
from tests.media import moving_square

PAINT = moving_square()
QUICK = LiveParams(open_s=3, stall_s=1.5, frozen_s=1.0, backoff_s=0.1, backoff_max_s=0.4)


class Camera(ThreadingHTTPServer):
    """Streams JPEG frames; ``mode`` is ok, stall, freeze or drop, and acts on running connections too."""

    daemon_threads = True
    mode = "ok"
    connections = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/video.mjpg"


class Stream(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        camera = self.server
        assert isinstance(camera, Camera)
        camera.connections += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for index in itertools.count():
                if camera.mode == "drop":
                    return
                if camera.mode != "stall":
                    shown = 0 if camera.mode == "freeze" else index
                    data = cv2.imencode(".jpg", PAINT(shown))[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(0.04)
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def camera() -> Iterator[Camera]:
    server = Camera(("127.0.0.1", 0), Stream)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.mode = "drop"
    server.shutdown()
    server.server_close()
    thread.join(5)


def take(frames: Iterator[Frame], seconds: float) -> list[Frame]:
    taken, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        taken.append(next(frames))
    return taken


def test_camera_gives_frames_at_the_wanted_rate(camera: Camera) -> None:
    source = open_source(camera.address, fps=5)
    frames = take(source.frames(), 3.0)
    source.close()
    assert source.info.is_live and source.info.width == 160
    assert 4 <= len(frames) <= 18
    times = [frame.t_s for frame in frames]
    assert times == sorted(set(times))


@pytest.mark.parametrize("fault", ["drop", "stall", "freeze"])
def test_camera_comes_back_after(camera: Camera, fault: str) -> None:
    source = LiveSource(camera.address, params=QUICK)
    frames = source.frames()
    before = take(frames, 0.5)
    camera.mode = fault

    def mend() -> None:
        time.sleep(3.0)
        camera.mode = "ok"

    mender = threading.Thread(target=mend)
    mender.start()
    started = time.monotonic()
    after: list[Frame] = []
    while not (source.gaps and camera.mode == "ok" and len(after) > 5):
        after.append(next(frames))
        assert time.monotonic() - started < 25, "recovery took too long"
    mender.join()
    source.close()
    assert source.reconnects >= 1 and camera.connections >= 2
    times = [frame.t_s for frame in before + after]
    assert times == sorted(set(times)), "stream time never goes back"
    gap = source.gaps[0]
    assert gap.end_s > gap.start_s and gap.reason


def test_camera_that_stays_away_ends_with_one_line(camera: Camera) -> None:
    params = LiveParams(open_s=1, stall_s=1, backoff_s=0.1, backoff_max_s=0.2, give_up_s=1.0)
    source = LiveSource(camera.address, params=params)
    frames = source.frames()
    next(frames)
    camera.mode = "drop"
    with pytest.raises(SourceError, match="has been away") as caught:
        take(frames, 20)
    source.close()
    assert caught.value.hint


def test_no_camera_there() -> None:
    with pytest.raises(SourceError, match="nothing listens") as caught:
        LiveSource("rtsp://guard:secret@127.0.0.1:9/stream", params=LiveParams(open_s=1))
    assert "secret" not in caught.value.one_line()


def test_credentials_are_never_shown() -> None:
    assert without_credentials("rtsp://a:b@c@cam:554/x?y=1") == "rtsp://cam:554/x?y=1"
    assert without_credentials("http://cam/x") == "http://cam/x"
