"""Alerts reach a file and a webhook; a receiver that fails is tried again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline import settings as settings_module
from pipeline.notify import AlertFile, AlertNotDelivered, Webhook, build_notifiers

ALERT: dict[str, object] = {"alert_key": "incident:1", "title": "Person down", "priority": "high"}


class Receiver(ThreadingHTTPServer):
    """A real server that keeps what it is sent and answers as told."""

    answer = 200

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], dict[str, object]]] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((dict(self.headers), json.loads(body)))
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_webhook_gets_the_alert_with_its_key(receiver: Receiver) -> None:
    Webhook(f"http://127.0.0.1:{receiver.server_port}/hook").notify(ALERT)

    headers, body = receiver.got[0]
    assert body == ALERT
    assert headers["idempotency-key"] == "incident:1"


def test_a_refusing_webhook_is_an_error_that_does_not_show_the_address(receiver: Receiver) -> None:
    receiver.answer = 503

    with pytest.raises(AlertNotDelivered) as caught:
        Webhook(f"http://127.0.0.1:{receiver.server_port}/secret-path").notify(ALERT)

    assert caught.value.retryable
    assert "503" in caught.value.message
    assert "secret-path" not in caught.value.one_line()


def test_a_closed_port_is_an_error() -> None:
    with pytest.raises(AlertNotDelivered):
        Webhook("http://127.0.0.1:9/").notify(ALERT)


def test_alerts_are_appended_to_a_file(tmp_path: Path) -> None:
    sink = AlertFile(tmp_path / "logs" / "alerts.jsonl")

    sink.notify(ALERT)
    sink.notify({**ALERT, "alert_key": "incident:2"})

    keys = [json.loads(line)["alert_key"] for line in sink.path.read_text().splitlines()]
    assert keys == ["incident:1", "incident:2"]


def test_the_settings_choose_the_receivers(tmp_path: Path) -> None:
    alone = settings_module.load(data_dir=tmp_path)
    both = settings_module.load(data_dir=tmp_path, alert_webhook="https://example.invalid/hook")

    assert [one.name for one in build_notifiers(alone)] == ["file"]
    assert [one.name for one in build_notifiers(both)] == ["file", "webhook"]
    assert settings_module.masked(both)["alert_webhook"] == "********"
