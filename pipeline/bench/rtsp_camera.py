"""An RTSP camera for tests and soaks: GStreamer's own server, run by the system's Python.

GStreamer's bindings come from the distribution (Debian: ``gir1.2-gst-rtsp-server-1.0 python3-gi
gstreamer1.0-plugins-base -good -bad -ugly``), so this file runs outside the virtual environment and imports
nothing of Sitrep. :class:`RtspCamera` starts it as a process of its own and tells it what to do on its
standard input, one command a line::

    freeze | thaw            the same picture for ever | moving again
    size WIDTH HEIGHT        another resolution, in the middle of the stream
    thin SHARE               drop this share of frames at random: a variable frame rate
    quit

The stream is at ``rtsp://127.0.0.1:PORT/stream``.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

SYSTEM_PYTHON = "/usr/bin/python3"
PASSWORD_VARIABLE = "RTSP_CAMERA_PASSWORD"
PACKAGES = (
    "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
)
"""What Debian calls the parts."""
_CHECK = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
_MOVING, _STILL = "ball", "smpte75"
_ENCODERS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate={kbit} key-int-max={gop} "
    "! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast bitrate={kbit} key-int-max={gop} "
    "! h265parse ! rtph265pay name=pay0 pt=96 config-interval=-1",
    "mjpeg": "jpegenc quality=80 ! rtpjpegpay name=pay0 pt=26",
}


@cache
def missing() -> str | None:
    """What is missing to run it, in one line, or ``None``."""
    if not Path(SYSTEM_PYTHON).exists():
        return f"no {SYSTEM_PYTHON}"
    found = subprocess.run([SYSTEM_PYTHON, "-c", _CHECK], capture_output=True, check=False)
    return None if found.returncode == 0 else f"GStreamer's RTSP server (Debian: {PACKAGES})"


class RtspCamera:
    """The server as a child process.

    Args:
        width: Picture width, px.
        height: Picture height, px.
        fps: Frames a second.
        codec: ``h264``, ``h265`` or ``mjpeg``.
        auth: ``none``, ``basic`` or ``digest``.
        user: Name to log in with.
        password: Password to log in with.
        clip: MP4 file with H.264 to send as it is, to each viewer from its beginning, instead of a drawn
            picture.
        port: Where it listens; a free one when 0.
    """

    def __init__(
        self,
        *,
        width: int = 320,
        height: int = 240,
        fps: int = 15,
        codec: str = "h264",
        auth: str = "none",
        user: str = "guard",
        password: str = "",
        clip: Path | None = None,
        port: int = 0,
    ) -> None:
        self.port = port or _free_port()
        self._arguments = ["--port", str(self.port), "--width", str(width), "--height", str(height)]
        self._arguments += ["--fps", str(fps), "--codec", codec, "--auth", auth, "--user", user]
        self._arguments += ["--clip", str(clip)] if clip else []
        self._password = password
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> RtspCamera:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            RuntimeError: It ended at once; the message holds what it said.
        """
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, __file__, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, PASSWORD_VARIABLE: self._password, "PYTHONUNBUFFERED": "1"},
        )
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            if line.strip() == "ready":
                # GStreamer may go on talking: somebody must keep its pipe empty.
                threading.Thread(target=self._process.stdout.read, daemon=True).start()
                return
            said.append(line.strip())
        self.stop()
        raise RuntimeError(f"the RTSP camera did not start: {' '.join(said)[-300:]}")

    def tell(self, command: str) -> None:
        """Send one command line."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _launch_line(options: argparse.Namespace) -> str:
    if options.clip:
        return (
            f"( filesrc location={options.clip} ! qtdemux ! h264parse "
            "! rtph264pay name=pay0 pt=96 config-interval=-1 )"
        )
    coder = _ENCODERS[options.codec].format(kbit=512, gop=options.fps)
    return (
        f"( videotestsrc name=source is-live=true pattern={_MOVING} ! identity name=thin "
        f"! capsfilter name=size caps={_caps(options.width, options.height, options.fps)} ! {coder} )"
    )


def _caps(width: int, height: int, fps: int) -> str:
    return f"video/x-raw,format=I420,width={width},height={height},framerate={fps}/1"


class _Server:
    """Everything that needs GStreamer; only the system's Python gets here."""

    def __init__(self, options: argparse.Namespace) -> None:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstRtspServer", "1.0")
        from gi.repository import GLib, Gst, GstRtsp, GstRtspServer

        Gst.init(None)
        self.gst, self.options = Gst, options
        self.loop = GLib.MainLoop()
        self.idle: Callable[..., Any] = GLib.idle_add
        self.frozen, self.thin = False, 0.0
        self.size = (options.width, options.height)
        self.pipelines: list[Any] = []
        server = GstRtspServer.RTSPServer()
        server.set_address("127.0.0.1")
        server.set_service(str(options.port))
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(_launch_line(options))
        # Viewers of a clip each get it from its beginning; those of the drawn picture see the same one.
        factory.set_shared(not options.clip)
        factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP)
        factory.connect("media-configure", self.configure)
        if options.auth != "none":
            self.protect(GstRtsp, GstRtspServer, server, factory)
        server.get_mount_points().add_factory("/stream", factory)
        if not server.attach(None):
            sys.exit(f"port {options.port} is taken")
        self.server = server

    def protect(self, rtsp: Any, rtsp_server: Any, server: Any, factory: Any) -> None:
        name, password = self.options.user, os.environ.get(PASSWORD_VARIABLE, "")
        token = rtsp_server.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth = rtsp_server.RTSPAuth()
        if self.options.auth == "basic":
            auth.set_supported_methods(rtsp.RTSPAuthMethod.BASIC)
            auth.add_basic(rtsp_server.RTSPAuth.make_basic(name, password), token)
        else:
            auth.set_supported_methods(rtsp.RTSPAuthMethod.DIGEST)
            auth.add_digest(name, password, token)
        server.set_auth(auth)
        permissions = rtsp_server.RTSPPermissions()
        for right in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role("viewer", right, True)
        factory.set_permissions(permissions)

    def configure(self, _factory: Any, media: Any) -> None:
        """A new pipeline, for the first of the viewers: it must look as the last command said."""
        pipeline = media.get_element()
        if pipeline.get_by_name("source") is None:
            return
        self.pipelines = [pipeline]
        pad = pipeline.get_by_name("thin").get_static_pad("src")
        pad.add_probe(self.gst.PadProbeType.BUFFER, self.probe)
        self.apply()

    def probe(self, *_: Any) -> Any:
        dropped = random.random() < self.thin
        return self.gst.PadProbeReturn.DROP if dropped else self.gst.PadProbeReturn.OK

    def apply(self) -> bool:
        for pipeline in self.pipelines:
            pipeline.get_by_name("source").set_property("pattern", _STILL if self.frozen else _MOVING)
            wanted = self.gst.Caps.from_string(_caps(*self.size, self.options.fps))
            pipeline.get_by_name("size").set_property("caps", wanted)
        return False

    def obey(self) -> None:
        for line in sys.stdin:
            command, *values = line.split()
            if command == "quit":
                break
            if command in ("freeze", "thaw"):
                self.frozen = command == "freeze"
            elif command == "size":
                self.size = (int(values[0]), int(values[1]))
            elif command == "thin":
                self.thin = float(values[0])
            self.idle(self.apply)
        # Also when the parent died: its end of the pipe is closed then.
        time.sleep(0.05)
        os._exit(0)

    def run(self) -> None:
        threading.Thread(target=self.obey, daemon=True).start()
        print("ready", flush=True)
        self.loop.run()


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description="A camera that speaks RTSP.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--fps", type=int, default=15)
    parser.add_argument("--codec", choices=sorted(_ENCODERS), default="h264")
    parser.add_argument("--auth", choices=("none", "basic", "digest"), default="none")
    parser.add_argument("--user", default="guard")
    parser.add_argument("--clip", default="")
    _Server(parser.parse_args()).run()


if __name__ == "__main__":
    main()
