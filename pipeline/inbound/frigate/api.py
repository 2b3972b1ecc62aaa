"""Frigate's HTTP API, as far as Sitrep asks it: configuration, clips, snapshots.

The paths are those of frigate/api/media.py and app.py in blakeblackshear/frigate; releases that do not know
``padding`` ignore it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
from pydantic import ValidationError

from pipeline.errors import ConfigError, InboundError, QueueFull
from pipeline.inbound.fetch import TIMEOUT_S, downloaded, limit_bytes
from pipeline.inbound.frigate.messages import Config
from pipeline.settings import Settings


class FrigateApi:
    """Asks one Frigate.

    Args:
        address: ``http://HOST:5000``, or ``https://HOST:8971`` with the setting ``frigate_token``.
        settings: Token and size limit.

    Raises:
        ConfigError: The address cannot be used.
    """

    def __init__(self, address: str, settings: Settings) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--frigate {address} is no address", hint="give http://HOST:5000")
        if parts.username or parts.password:
            raise ConfigError("--frigate carries a user or password", hint="set SITREP_FRIGATE_TOKEN")
        self._base = address.rstrip("/")
        self._settings = settings
        token = settings.frigate_token
        self._headers = {"authorization": f"Bearer {token.get_secret_value()}"} if token else {}

    def config(self) -> Config:
        """The cameras' sizes.

        Raises:
            InboundError: Frigate does not answer, or not as Frigate does.
        """
        return self._parsed(self._get("/api/config", "its configuration"))

    @contextmanager
    def event_clip(self, event_id: str, padding_s: int) -> Iterator[Path]:
        """The recording of a tracked object. Raises InboundError, QueueFull: not (yet) there."""
        path = f"/api/events/{quote(event_id, safe='')}/clip.mp4"
        with self._clip(path, f"of event {event_id}", {"padding": str(padding_s)}) as file:
            yield file

    @contextmanager
    def span_clip(self, camera: str, start_s: float, end_s: float) -> Iterator[Path]:
        """The recording of a camera between two clock times. Raises InboundError, QueueFull."""
        path = f"/api/{quote(camera, safe='')}/start/{start_s:.3f}/end/{end_s:.3f}/clip.mp4"
        with self._clip(path, f"of camera {camera}", {}) as file:
            yield file

    def snapshot(self, event_id: str) -> bytes:
        """The best picture of a tracked object, whole and without drawings. Raises InboundError."""
        path = f"/api/events/{quote(event_id, safe='')}/snapshot.jpg"
        return self._get(path, f"snapshot of event {event_id}", {"bbox": "0", "crop": "0", "timestamp": "0"})

    @contextmanager
    def _clip(self, path: str, name: str, params: dict[str, str]) -> Iterator[Path]:
        with downloaded(
            self._base + path, name, self._settings, headers=self._headers, params=params
        ) as file:
            yield file

    def _get(self, path: str, what: str, params: dict[str, str] | None = None) -> bytes:
        limit = limit_bytes(self._settings)
        try:
            with (
                httpx.Client(timeout=TIMEOUT_S, trust_env=False, headers=self._headers) as client,
                client.stream("GET", self._base + path, params=params) as answer,
            ):
                if answer.status_code != 200:
                    hint = "set SITREP_FRIGATE_TOKEN" if answer.status_code in (401, 403) else None
                    raise InboundError(f"Frigate answers {answer.status_code} for {what}", hint=hint)
                body = bytearray()
                for chunk in answer.iter_bytes(1 << 16):
                    body += chunk
                    if len(body) > limit:
                        raise InboundError(f"Frigate sends more than {limit} bytes for {what}")
        except httpx.TransportError as error:
            raise QueueFull(
                f"Frigate at {self._base} does not answer: {type(error).__name__}", retry_after_s=5
            ) from error
        return bytes(body)

    def _parsed(self, body: bytes) -> Config:
        try:
            return Config.model_validate_json(body)
        except ValidationError as error:
            raise InboundError(
                f"{self._base}/api/config is not Frigate's configuration", hint="check --frigate"
            ) from error
