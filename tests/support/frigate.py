"""Frigate as the bridge meets it: a real mosquitto with a password, and an HTTP server with Frigate's paths.

Message shapes: docs/docs/integrations/mqtt.md of blakeblackshear/frigate at commit
5e68fabe2f7cd8a6bbd95d449730751eccfada15, every key it lists; the values are our own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from support.servers import free_port

USER, PASSWORD = "sitrep", "mqtt-secret-51"


def mosquitto_program(name: str) -> str | None:
    """Debian puts the server where users' paths do not look."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")


class Mosquitto:
    """A broker that wants a user and password; ``stop`` and ``start`` again keep its port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        secrets, self._config = folder / "passwords", folder / "mosquitto.conf"
        made = [str(mosquitto_program("mosquitto_passwd")), "-b", "-c", str(secrets), USER, PASSWORD]
        subprocess.run(made, check=True, capture_output=True)
        secrets.chmod(0o644)
        folder.chmod(0o755)
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {secrets}\n"
            f"user root\npersistence false\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [str(mosquitto_program("mosquitto")), "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                self.publish("test/ready", {})
                return
            except OSError:
                assert time.monotonic() < deadline, "mosquitto does not start"
                time.sleep(0.05)

    def publish(self, topic: str, *messages: Any) -> None:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set(USER, PASSWORD)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        for message in messages:
            payload = message if isinstance(message, bytes) else json.dumps(message)
            client.publish(topic, payload, qos=1).wait_for_publish(10)
        client.disconnect()
        client.loop_stop()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


@dataclass
class FrigateServer:
    """The paths of Frigate's API the bridge asks; clips and snapshots are files of ours.

    ``refuse`` says how often a clip is answered as not there, as Frigate does before it has written it.
    """

    clips: dict[str, Path] = field(default_factory=dict)
    snapshots: dict[str, bytes] = field(default_factory=dict)
    refuse: Counter[str] = field(default_factory=Counter)
    asked: list[str] = field(default_factory=list)

    def __enter__(self) -> FrigateServer:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                status, kind, body = outer.answer(self.path.partition("?")[0])
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, path: str) -> tuple[int, str, bytes]:
        if path == "/api/config":
            detect = {"enabled": True, "width": 640, "height": 480, "fps": 5}
            cameras = {name: {"enabled": True, "detect": detect} for name in ("garden", "office")}
            return 200, "application/json", json.dumps({"cameras": cameras, "mqtt": {}}).encode()
        clip = re.fullmatch(r"/api/events/([^/]+)/clip\.mp4", path)
        span = re.fullmatch(r"/api/([^/]+)/start/[\d.]+/end/[\d.]+/clip\.mp4", path)
        snapshot = re.fullmatch(r"/api/events/([^/]+)/snapshot\.jpg", path)
        if found := clip or span:
            name = found[1]
            if self.refuse[name] > 0:
                self.refuse[name] -= 1
                return 404, "application/json", b'{"success": false, "message": "Clip not available"}'
            if name in self.clips:
                return 200, "video/mp4", self.clips[name].read_bytes()
        if snapshot and snapshot[1] in self.snapshots:
            return 200, "image/jpeg", self.snapshots[snapshot[1]]
        return 404, "application/json", b'{"success": false, "message": "Event not found"}'


def event(
    kind: str, event_id: str, *, at_s: float = 0.0, ended: bool = False, **changes: Any
) -> dict[str, Any]:
    """A message of ``frigate/events``; ``at_s`` counts from the start of the event."""
    start = float(event_id.partition("-")[0])
    after = {
        "id": event_id,
        "camera": "garden",
        "frame_time": start + at_s,
        "snapshot_time": start + at_s,
        "label": "fire",
        "sub_label": None,
        "top_score": 0.8125,
        "false_positive": False,
        "start_time": start,
        "end_time": start + at_s if ended else None,
        "score": 0.75,
        "box": [210, 130, 430, 400],
        "area": 59400,
        "ratio": 0.81,
        "region": [160, 80, 480, 400],
        "current_zones": ["lawn"],
        "entered_zones": ["lawn"],
        "thumbnail": None,
        "has_snapshot": True,
        "has_clip": True,
        "active": True,
        "stationary": False,
        "motionless_count": 0,
        "position_changes": 1,
        "attributes": {},
        "current_attributes": [],
        **changes,
    }
    return {"type": kind, "before": {**after, "end_time": None}, "after": after}


def review(
    kind: str, review_id: str, events: list[str], *, ended_s: float | None = None, **data: Any
) -> dict[str, Any]:
    """A message of ``frigate/reviews``."""
    start = float(review_id.partition("-")[0])
    after = {
        "id": review_id,
        "camera": "office",
        "start_time": start,
        "end_time": None if ended_s is None else start + ended_s,
        "severity": "alert",
        "thumb_path": f"/media/frigate/clips/review/thumb-office-{review_id}.webp",
        "data": {
            "detections": events,
            "objects": ["person"],
            "sub_labels": [],
            "zones": ["desk"],
            "audio": [],
            **data,
        },
    }
    return {"type": kind, "before": after, "after": after}
