"""Frigate (https://frigate.video) as a detector: its MQTT messages and HTTP API into candidates."""

from pipeline.inbound.frigate.bridge import Bridge, Counts
from pipeline.inbound.frigate.rules import Rules, load_rules

__all__ = ["Bridge", "Counts", "Rules", "load_rules"]
