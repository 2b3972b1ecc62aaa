"""An RTSP camera for real: GStreamer's server as a process of its own, a proxy for the network's faults."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from support.proxy import Proxy

from pipeline.bench.rtsp_camera import RtspCamera
from pipeline.errors import SourceError
from pipeline.ingest.live import FROZEN, LiveParams, LiveSource
from pipeline.types import Frame

pytestmark = pytest.mark.needs("gstreamer-rtsp")
QUICK = LiveParams(open_s=3, stall_s=1.2, frozen_s=2.0, backoff_s=0.1, backoff_max_s=0.5)
SECRET = "very-secret-91c"
RECOVERY_S = 10.0


def take(source: LiveSource, seconds: float) -> list[Frame]:
    taken, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        frame = source.take()
        if frame is None:
            time.sleep(0.01)
        else:
            taken.append(frame)
    return taken


def recover(source: LiveSource, gaps: int) -> list[Frame]:
    """Frames until so many gaps are on record and pictures come again; never longer than promised."""
    frames: list[Frame] = []
    deadline = time.monotonic() + RECOVERY_S
    while source.health.gaps < gaps or source.health.state != "up" or len(frames) < 3:
        assert time.monotonic() < deadline, (source.health, len(frames))
        frames += take(source, 0.1)
    return frames


def rising(frames: list[Frame]) -> bool:
    times = [frame.t_s for frame in frames]
    return times == sorted(set(times))


@pytest.fixture
def camera() -> Iterator[RtspCamera]:
    with RtspCamera() as running:
        yield running


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_credentials_open_the_camera_and_are_shown_nowhere(
    auth: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Given a camera with a password, when it is right frames come, else one line says what is wrong."""
    caplog.set_level(logging.DEBUG)
    with RtspCamera(auth=auth, password=SECRET) as camera, capture_logs() as logs:
        source = LiveSource(f"rtsp://guard:{SECRET}@127.0.0.1:{camera.port}/stream", fps=5, params=QUICK)
        frames = take(source, 1.5)
        source.close()
        with pytest.raises(SourceError, match="refuses user name and password") as refused:
            LiveSource(f"rtsp://guard:wrong-{SECRET}@127.0.0.1:{camera.port}/stream", params=QUICK)
        with pytest.raises(SourceError, match="asks for user name and password"):
            LiveSource(f"rtsp://127.0.0.1:{camera.port}/stream", params=QUICK)

    assert 4 <= len(frames) <= 12 and rising(frames)
    assert frames[0].image.shape == (240, 320, 3)
    said = capfd.readouterr()
    for text in (refused.value.one_line(), source.info.uri, repr(logs), caplog.text, said.out, said.err):
        assert SECRET not in text


def test_a_path_that_is_not_there_is_named(camera: RtspCamera) -> None:
    """Given a running camera, when its path is wrong, then the line says so."""
    with pytest.raises(SourceError, match="no stream of that path"):
        LiveSource(f"rtsp://127.0.0.1:{camera.port}/elsewhere", params=QUICK)


@pytest.mark.parametrize("fault", ["cut", "stall", "silence"])
def test_the_network_fails_and_comes_back(camera: RtspCamera, fault: str) -> None:
    """Given a stream, when the network fails, then the gap is recorded and frames come again in order."""
    with Proxy(camera.port) as proxy, capture_logs() as logs:
        source = LiveSource(f"rtsp://127.0.0.1:{proxy.port}/stream", fps=10, params=QUICK)
        frames = take(source, 1.0)
        if fault == "cut":
            proxy.cut()
        else:
            proxy.silent = fault == "silence"
            proxy.go_silent()
        if fault == "silence":
            frames += take(source, 3.0)
            proxy.silent = False
        frames += recover(source, 1)
        source.close()

    gap = source.gaps[0]
    assert gap.end_s > gap.start_s > 0 and gap.reason
    assert rising(frames) and not any(gap.start_s < frame.t_s < gap.end_s for frame in frames)
    assert [entry["event"] for entry in logs] == ["camera.lost", "camera.back"]


def test_the_camera_restarts_with_another_resolution() -> None:
    """Given a stream, when the camera restarts and sends larger pictures, then those are what comes."""
    with RtspCamera() as camera:
        source = LiveSource(f"rtsp://127.0.0.1:{camera.port}/stream", fps=10, params=QUICK)
        frames = take(source, 0.8)
        camera.stop()
        frames += take(source, 1.0)
        with RtspCamera(width=640, height=480, port=camera.port):
            after = recover(source, 1)
            source.close()
    assert frames[0].image.shape == (240, 320, 3)
    assert after[-1].image.shape == (480, 640, 3)
    assert rising(frames + after)


def test_a_frozen_picture_is_noticed_and_its_end_too(camera: RtspCamera) -> None:
    """Given an encoder that repeats one picture, when it goes on, then it counts as frozen until it moves."""
    source = LiveSource(f"rtsp://127.0.0.1:{camera.port}/stream", fps=10, params=QUICK)
    take(source, 1.0)
    camera.tell("freeze")
    deadline = time.monotonic() + 8
    while source.health.state != "frozen":
        assert time.monotonic() < deadline, "not noticed"
        take(source, 0.1)
    camera.tell("thaw")
    frames = recover(source, 1)
    source.close()
    assert source.gaps[0].reason == FROZEN
    assert source.reconnects >= 1 and rising(frames)


def test_damage_without_a_break_is_lived_with(camera: RtspCamera) -> None:
    """Given a stream, when its rate, size, packets and clock misbehave, then frames keep coming in order."""
    with Proxy(camera.port) as proxy:
        source = LiveSource(f"rtsp://127.0.0.1:{proxy.port}/stream", fps=10, params=QUICK)
        frames = take(source, 0.8)
        for name, value in (("corrupt", 0.2), ("corrupt", 0.0), ("lose", 0.2), ("lose", 0.0)):
            setattr(proxy, name, value)
            frames += take(source, 0.8)
        for jump_s in (3600, -3600):
            proxy.shift_ticks = 90_000 * jump_s
            frames += take(source, 0.8)
        for command in ("thin 0.7", "thin 0", "size 640 480", "size 320 240"):
            camera.tell(command)
            frames += take(source, 0.8)
        before = len(frames)
        frames += recover(source, source.health.gaps)
        source.close()
    assert proxy.packets > 50
    assert len(frames) > before > 20 and rising(frames)
