"""Opening cameras through OpenCV, and saying why one cannot be opened."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import SourceError
from pipeline.ingest.address import is_webcam, without_credentials
from pipeline.ingest.quiet import cv2

OPTIONS_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
RTSP_OPTIONS = "rtsp_transport;tcp|analyzeduration;500000"
"""TCP always: over UDP a lost packet is a grey smear that looks like motion. Half a second is enough to learn
what is sent; FFmpeg would otherwise listen for two and a half after each reconnect."""
# OpenCV reads its options from the environment only; a site's own win.
os.environ.setdefault(OPTIONS_VARIABLE, RTSP_OPTIONS)
_DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


def open_camera(uri: str, *, open_s: float, read_s: float) -> Any:
    """An open ``cv2.VideoCapture``, or ``None`` when the camera gives no picture.

    Args:
        uri: Address with credentials, or number or device file of a webcam.
        open_s: Longest wait for the connection.
        read_s: Longest wait for one frame later on.
    """
    if is_webcam(uri):
        device: int | str = int(uri) if uri.isdigit() else uri
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
    else:
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(open_s * 1000)]
        timeouts += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(read_s * 1000)]
        # One decoder thread a camera: many cameras share few cores, and more threads add frames of delay.
        capture = cv2.VideoCapture(uri, cv2.CAP_FFMPEG, [*timeouts, cv2.CAP_PROP_N_THREADS, 1])
    if capture.isOpened():
        return capture
    capture.release()
    return None


def why_not(uri: str, open_s: float) -> SourceError:
    """What is wrong with a camera that could not be opened, found out by knocking at its door.

    Args:
        uri: Address, with its credentials: they appear in no message.
        open_s: How long opening it was tried.
    """
    if is_webcam(uri):
        return _why_no_webcam(uri)
    shown = without_credentials(uri)
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme.lower(), 0)
    except ValueError:
        host, port = None, 0
    if not host:
        return SourceError(
            f"camera address {shown} cannot be read", hint="rtsp://user:password@host:554/path"
        )
    try:
        with socket.create_connection((host, port), timeout=min(open_s, 3.0)) as connection:
            answer = _describe(connection, shown) if parts.scheme.lower() == "rtsp" else ""
    except socket.gaierror:
        return SourceError(f"camera {shown}: no host is called {host}", hint="check the address and the DNS")
    except ConnectionRefusedError:
        return SourceError(
            f"camera {shown}: nothing listens on port {port}", hint="check the port; is the camera up?"
        )
    except OSError:
        return SourceError(
            f"camera {shown} cannot be reached within {open_s:.0f} s", hint="check address and network"
        )
    if " 401 " in answer:
        wrong = "refuses user name and password" if "@" in parts.netloc else "asks for user name and password"
        return SourceError(f"camera {shown} {wrong}", hint="rtsp://user:password@host/path")
    if " 404 " in answer:
        return SourceError(f"camera {shown} has no stream of that path", hint="see the camera's manual")
    return SourceError(
        f"camera {shown} gives no picture within {open_s:.0f} s",
        hint="check address, credentials and network",
    )


def _describe(connection: socket.socket, shown: str) -> str:
    """First line of the answer to a DESCRIBE without credentials; empty when there is none."""
    with contextlib.suppress(OSError):
        connection.settimeout(2.0)
        connection.sendall(f"DESCRIBE {shown} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
        return connection.recv(512).decode("latin-1").split("\r\n")[0] + " "
    return ""


def _why_no_webcam(uri: str) -> SourceError:
    device = Path(f"/dev/video{uri}") if uri.isdigit() else Path(uri)
    if not device.exists():
        there = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*")))
        return SourceError(
            f"webcam {uri}: there is no {device}", hint=f"this machine has {there or 'no video device'}"
        )
    if not os.access(device, os.R_OK | os.W_OK):
        return SourceError(f"webcam {uri}: no permission for {device}", hint="add the user to group video")
    return SourceError(f"webcam {uri} gives no picture", hint="is another program using it?")
