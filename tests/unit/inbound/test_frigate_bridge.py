"""When the bridge hands an event over, and what it does when something is away. The whole way, with a real
broker and real pictures, is in ``tests/integration/test_inbound_frigate.py``; here time is ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.frigate import event, review

from pipeline.errors import InboundError, QueueFull, SitrepError, StoreError
from pipeline.inbound.frigate.bridge import Bridge
from pipeline.inbound.frigate.messages import Config
from pipeline.inbound.frigate.mqtt import Message
from pipeline.inbound.frigate.rules import Rules
from pipeline.inbound.report import DetectionIn
from pipeline.inbound.service import Accepted

ID = "1795560000.25-abc"


class Site:
    """A Frigate and an intake whose faults the test chooses."""

    def __init__(self, **rules: Any) -> None:
        self.now = 100.0
        self.clip: SitrepError | None = None
        self.picture: SitrepError | None = None
        self.refuse: list[SitrepError] = []
        self.taken: list[tuple[str, DetectionIn]] = []
        self.spans: list[tuple[str, float, float]] = []
        self.troubles: list[str] = []
        given = {"rules": [{"labels": ["fire", "person"], "event_type": "fire"}], **rules}
        self.bridge = Bridge(
            None,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            Rules.model_validate(given),
            on_trouble=lambda error: self.troubles.append(error.one_line()),
            now=lambda: self.now,
        )

    def config(self) -> Config:
        return Config.model_validate({"cameras": {"garden": {"detect": {"width": 640, "height": 480}}}})

    @contextmanager
    def event_clip(self, event_id: str, padding_s: int) -> Iterator[Path]:
        if self.clip is not None:
            raise self.clip
        yield Path("clip.mp4")

    @contextmanager
    def span_clip(self, camera: str, start_s: float, end_s: float) -> Iterator[Path]:
        self.spans.append((camera, start_s, end_s))
        yield Path("clip.mp4")

    def snapshot(self, event_id: str) -> bytes:
        if self.picture is not None:
            raise self.picture
        return b"jpeg"

    def take(self, said: DetectionIn, *, files: Any = None, clip: Any = None) -> Accepted:
        return self._take("clip" if clip else "snapshot", said)

    def take_bare(self, said: DetectionIn, note: str) -> Accepted:
        return self._take("bare", said)

    def _take(self, how: str, said: DetectionIn) -> Accepted:
        if self.refuse:
            raise self.refuse.pop(0)
        self.taken.append((how, said))
        return Accepted("c", "j", known=False)

    def send(self, message: dict[str, Any], topic: str = "events") -> None:
        self.bridge.take(Message(topic, json.dumps(message).encode()))

    def after(self, seconds: float) -> list[str]:
        self.now += seconds
        self.bridge.look()
        return [how for how, _ in self.taken]


def test_many_messages_are_one_event_handed_over_after_its_end() -> None:
    site = Site(settle_s=5)
    for at_s in (0.4, 1.0, 2.0):
        site.send(event("update", ID, at_s=at_s))
    assert site.after(4) == []
    site.send(event("end", ID, at_s=3.0, ended=True))
    assert site.after(4) == [] and site.after(1) == ["clip"]
    site.send(event("end", ID, at_s=3.0, ended=True))
    assert site.after(100) == ["clip"]
    said = site.taken[0][1]
    assert (said.event_id, said.zone, said.score) == (ID, "lawn", 0.8125)
    assert said.clip is not None and (said.clip.from_s, said.clip.to_s) == (3, 6)
    assert [round(box.t_s or 0, 1) for box in said.boxes] == [3.4, 4.0, 5.0, 6.0]


def test_an_event_that_goes_on_is_handed_over_in_time() -> None:
    site = Site(max_wait_s=20)
    site.send(event("new", ID, at_s=0.4))
    assert site.after(19) == [] and site.after(1) == ["clip"]
    site.send(event("end", ID, at_s=90.0, ended=True))
    assert site.after(100) == ["clip"]


def test_a_clip_that_does_not_come_is_replaced_and_nothing_at_all_goes_to_a_person() -> None:
    """Given a Frigate without clips, when patience ends, then the snapshot, then an event without picture."""
    site = Site(settle_s=0, retry_s=5, patience_s=30)
    site.clip = InboundError("clip is not there")
    site.send(event("end", ID, at_s=3.0, ended=True))
    assert [site.after(5) for _ in range(6)] == [[]] * 6
    assert site.after(5) == ["snapshot"]

    site.picture = QueueFull("Frigate does not answer", retry_after_s=5)
    site.send(event("end", "1795560500.5-x", at_s=3.0, ended=True, has_clip=False))
    assert site.after(1) == ["snapshot", "bare"]
    assert any("gave no picture" in line for line in site.troubles)


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [(QueueFull("full", retry_after_s=30), 30), (StoreError("the database is away"), 10)],
)
def test_what_is_full_or_away_is_waited_for(fault: SitrepError, seconds: float) -> None:
    site = Site(settle_s=0)
    site.refuse = [fault, fault]
    site.send(event("end", ID, at_s=3.0, ended=True))
    assert site.after(0) == [] and site.after(seconds - 1) == [] and site.after(1) == []
    assert site.after(seconds) == ["clip"]
    assert len(site.troubles) == 1, "the same trouble is told once"


def test_what_no_rule_is_about_and_what_makes_no_sense() -> None:
    site = Site(settle_s=0)
    site.send(event("end", ID, at_s=1.0, ended=True, label="cat"))
    site.send(event("end", ID, at_s=1.0, ended=True, false_positive=True))
    site.send({"type": "new"})
    assert site.after(100) == []
    assert (site.bridge.counts.messages, site.bridge.counts.unreadable, site.bridge.counts.events) == (
        3,
        1,
        0,
    )
    # Boxes outside the picture are left out, not the event
    site.send(event("end", "1795561000.5-y", at_s=1.0, ended=True, box=[600, 10, 2000, 400]))
    assert site.after(1) == ["clip"] and site.taken[0][1].boxes == ()


def test_reviews_take_their_events_boxes_and_the_cameras_recording() -> None:
    site = Site(settle_s=0, follow="reviews")
    site.send(event("new", ID, at_s=1.0, camera="garden", label="person"))
    low = review("end", "1795560000.5-low", [ID], ended_s=3)
    low["after"]["severity"] = "detection"
    site.send(low, "reviews")
    item = review("end", "1795560000.75-item", [ID], ended_s=4, zones=["lawn"])
    item["after"]["camera"] = "garden"
    site.send(item, "reviews")
    assert site.after(1) == ["clip"]
    assert site.spans == [("garden", pytest.approx(1795559997.75), pytest.approx(1795560007.75))]
    said = site.taken[0][1]
    assert said.event_id == "1795560000.75-item" and said.boxes[0].label == "person"
