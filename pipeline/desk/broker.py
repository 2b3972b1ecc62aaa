"""Whether the broker answers, asked directly: the page must tell even when no worker can."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.settings import Settings


def pinger(settings: Settings) -> Callable[[], bool]:
    """A function that asks the broker of the settings for a sign of life within a second."""
    import redis

    url = settings.redis_url.get_secret_value() if settings.redis_url else None

    def ping() -> bool:
        if url is None:
            return False
        client = redis.Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    return ping
