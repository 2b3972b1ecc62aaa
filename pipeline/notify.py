"""Where alerts go: always a file of their own, and a webhook when one is set."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import SitrepError
from pipeline.interfaces import Notifier
from pipeline.settings import Settings

TIMEOUT_S = 10.0


class AlertNotDelivered(SitrepError):
    """A receiver did not take an alert; it is tried again."""

    stage = "notify"
    retryable = True


class AlertFile:
    """Appends alerts to a file as JSON lines."""

    name = "file"

    def __init__(self, path: Path) -> None:
        self.path = path

    def notify(self, alert: dict[str, object]) -> None:
        """One line. Raises AlertNotDelivered when the file cannot be written."""
        line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **alert}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
        except OSError as error:
            raise AlertNotDelivered(f"{self.path} cannot be written: {error.strerror}") from error


class Webhook:
    """Posts alerts as JSON; ``alert_key`` tells the receiver a repetition from a new one."""

    name = "webhook"

    def __init__(self, url: str) -> None:
        self._url = url
        # The path may hold a secret, so only the host is ever named.
        self.host = urlsplit(url).hostname or "?"

    def notify(self, alert: dict[str, object]) -> None:
        """One POST. Raises AlertNotDelivered unless the receiver answers 2xx."""
        import httpx

        body = json.dumps(alert, default=str)
        headers = {"content-type": "application/json", "idempotency-key": str(alert.get("alert_key", ""))}
        try:
            answer = httpx.post(self._url, content=body, headers=headers, timeout=TIMEOUT_S)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AlertNotDelivered(f"webhook {self.host}: {type(error).__name__}") from error
        if not answer.is_success:
            raise AlertNotDelivered(f"webhook {self.host} answered {answer.status_code}")


def build_notifiers(settings: Settings) -> list[Notifier]:
    """The receivers of an installation."""
    notifiers: list[Notifier] = [AlertFile(settings.data_dir / "logs" / "alerts.jsonl")]
    if settings.alert_webhook is not None:
        notifiers.append(Webhook(settings.alert_webhook.get_secret_value()))
    return notifiers
