"""The MQTT side: one subscription that comes back by itself after every break."""

from __future__ import annotations

import hashlib
import queue
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion

from pipeline.errors import BrokerError, ConfigError
from pipeline.settings import Settings

RETRY_S = (1, 30)
"""Pause between attempts to connect again: at first, at most."""
CAPACITY = 10_000
"""Messages held while one is worked on; more are dropped and counted."""
_HINT = "check --mqtt; user and password are SITREP_MQTT_USER and SITREP_MQTT_PASSWORD"
_PORTS = {"mqtt": 1883, "mqtts": 8883}
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """One message: the topic below the prefix, and its bytes."""

    topic: str
    payload: bytes


class Subscription:
    """Messages of some topics below a prefix.

    The session outlives a break, so that a broker which keeps messages (QoS 1) delivers what was missed.

    Args:
        address: ``HOST[:PORT]``, ``mqtt://HOST[:PORT]`` or ``mqtts://HOST[:PORT]``.
        prefix: Frigate's ``topic_prefix``.
        topics: Below the prefix.
        settings: User and password.

    Raises:
        ConfigError: The address cannot be read.
    """

    def __init__(self, address: str, prefix: str, topics: tuple[str, ...], settings: Settings) -> None:
        parts = urlsplit(address if "://" in address else f"mqtt://{address}")
        try:
            self._host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigError(f"--mqtt {address} is no address", hint="give HOST[:PORT]") from error
        if parts.scheme not in _PORTS or not self._host or parts.username or parts.password:
            raise ConfigError("--mqtt is no address, or carries a password", hint="give HOST[:PORT]")
        self._port = port or _PORTS[parts.scheme]
        self._topics = {f"{prefix.strip('/')}/{topic}": topic for topic in topics}
        self._waiting: queue.Queue[Message] = queue.Queue(CAPACITY)
        self.dropped = 0
        self.connections = 0
        self.refusal: BrokerError | None = None
        name = f"{socket.gethostname()} {settings.data_dir} {prefix}"
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"sitrep-{hashlib.sha256(name.encode()).hexdigest()[:12]}",
            clean_session=False,
        )
        if settings.mqtt_user:
            secret = settings.mqtt_password
            self._client.username_pw_set(settings.mqtt_user, secret.get_secret_value() if secret else None)
        if parts.scheme == "mqtts":
            self._client.tls_set()
        self._client.reconnect_delay_set(*RETRY_S)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._message

    @property
    def place(self) -> str:
        """Where the broker is, for messages."""
        return f"{self._host}:{self._port}"

    def start(self) -> None:
        """Connect, then listen in the background.

        Raises:
            BrokerError: Nobody answers at the address. Later breaks are mended without an error.
        """
        try:
            self._client.connect(str(self._host), self._port, keepalive=30)
        except (OSError, ValueError) as error:
            raise BrokerError(f"no MQTT broker answers at {self.place}: {error}", hint=_HINT) from error
        self._client.loop_start()

    def stop(self) -> None:
        """Stop listening; safe to call twice."""
        self._client.disconnect()
        self._client.loop_stop()

    def get(self, timeout_s: float) -> Message | None:
        """The next message, or ``None`` when none comes in time."""
        try:
            return self._waiting.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _connected(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, _props: Any) -> None:
        if reason.is_failure:
            self.refusal = BrokerError(f"the MQTT broker at {self.place} refuses: {reason}", hint=_HINT)
            return
        self.connections += 1
        client.subscribe([(topic, 1) for topic in self._topics])
        if self.connections > 1:
            log.warning("mqtt.back", broker=self.place)

    def _disconnected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _props: Any) -> None:
        if reason.is_failure:
            log.warning("mqtt.lost", broker=self.place, reason=str(reason))

    def _message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        topic = self._topics.get(message.topic)
        if topic is None:
            return
        try:
            self._waiting.put_nowait(Message(topic, bytes(message.payload)))
        except queue.Full:
            self.dropped += 1
