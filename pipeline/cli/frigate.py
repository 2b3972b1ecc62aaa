"""``sitrep frigate``: follow a Frigate's events into the queue of this installation."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipeline import settings as settings_module
from pipeline.cli import output

if TYPE_CHECKING:
    from pipeline.inbound import Accepted, DetectionIn


def frigate(
    mqtt: Annotated[str, typer.Option("--mqtt", help="MQTT broker: HOST[:PORT], mqtts://HOST[:PORT].")],
    address: Annotated[str, typer.Option("--frigate", help="Frigate's address: http://HOST:5000.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="Rules file; without: the defaults.")
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", help="Frigate's topic_prefix.")] = "frigate",
) -> None:
    """Follow Frigate's events until Ctrl-C; `sitrep up` beside it judges them."""
    settings = settings_module.load()

    from pipeline.inbound import Intake
    from pipeline.inbound.frigate import Bridge, load_rules
    from pipeline.inbound.frigate.api import FrigateApi
    from pipeline.inbound.frigate.bridge import TOPICS
    from pipeline.inbound.frigate.mqtt import Subscription
    from pipeline.queue.api import Queue
    from pipeline.store.frames import open_frame_store

    rules = load_rules(config)
    subscription = Subscription(mqtt, prefix, TOPICS, settings)
    api = FrigateApi(address, settings)
    intake = Intake(settings, lambda: Queue(settings), open_frame_store(settings))
    bridge = Bridge(subscription, api, intake, rules, on_candidate=_print, on_trouble=output.fail)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: bridge.stop())
    output.err.print(f"following {address} by MQTT {subscription.place}; Ctrl-C stops", highlight=False)
    try:
        counts = bridge.run()
    finally:
        intake.close()
    output.err.print(counts.one_line(), highlight=False)
    if subscription.dropped:
        output.warn(f"{subscription.dropped} MQTT messages came too fast and were dropped")


def _print(said: DetectionIn, accepted: Accepted) -> None:
    known = " (sent before)" if accepted.known else ""
    output.out.print(
        f"{said.event_type} {escape(said.camera)} {said.started_at:%Y-%m-%d %H:%M:%SZ} event {said.event_id} "
        f"-> candidate {accepted.candidate_id}{known}",
        highlight=False,
        soft_wrap=True,
    )
