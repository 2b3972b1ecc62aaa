"""Whether the broker answers, asked directly: the page must tell even when no worker can."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.queue.broker import with_running_broker
from pipeline.settings import Settings

_PATIENCE_S = 1.0


def pinger(settings: Settings) -> Callable[[], bool]:
    """A function that asks the broker of the settings for a sign of life within a second.

    With ``redis_url`` unset it asks the embedded broker of the data directory, looked up each time: it
    may have been started after the page.
    """
    import redis

    def ping() -> bool:
        address = with_running_broker(settings).redis_url
        if address is None:
            return False
        client = redis.Redis.from_url(
            address.get_secret_value(), socket_timeout=_PATIENCE_S, socket_connect_timeout=_PATIENCE_S
        )
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    return ping
