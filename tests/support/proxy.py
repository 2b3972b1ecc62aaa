"""A TCP proxy that can be slow, cut its connections, or let them go silent."""

from pipeline.bench.proxy import Proxy

__all__ = ["Proxy"]
