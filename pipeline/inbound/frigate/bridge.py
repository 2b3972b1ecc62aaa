"""The bridge: Frigate's messages become candidates, one an event, through the same intake as HTTP.

An event is handed over when it has ended, or when it has gone on for ``max_wait_s``: somebody waits. Frigate
writes its recordings a while after the ``end`` message, so a clip that is not there is asked for again; then
the snapshot has to do; an event of which there is no picture at all goes to a person.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from pipeline.errors import FrameStoreError, InboundError, QueueFull, SitrepError
from pipeline.inbound.frigate.api import FrigateApi
from pipeline.inbound.frigate.messages import Config, ReviewItem, TrackedObject, read_event, read_review
from pipeline.inbound.frigate.mqtt import Message, Subscription
from pipeline.inbound.frigate.rules import Rule, Rules
from pipeline.inbound.report import MAX_BOXES, DetectionIn, moment
from pipeline.inbound.service import Accepted, Intake

TOPICS = ("events", "reviews")
DETECTOR = "frigate"
MAX_OPEN = 2_000
"""Events followed at once; of more, the oldest is handed over at once."""
REMEMBERED = 20_000
LONGEST_S = 40.0
"""Of an event that lasts longer only its beginning is fetched."""
_LOOK_S = 0.25
_AWAY_S = 10.0
_CONFIG_EVERY_S = 300.0
_ODD = re.compile(r"[^\w .:/@+-]")


@dataclass(slots=True)
class Counts:
    """What the bridge did: for its last line."""

    messages: int = 0
    unreadable: int = 0
    events: int = 0
    candidates: int = 0
    known: int = 0
    by_snapshot: int = 0
    without_picture: int = 0
    given_up: int = 0

    def one_line(self) -> str:
        """All of it in one line."""
        return (
            f"{self.messages} messages ({self.unreadable} unreadable), {self.events} events matched, "
            f"{self.candidates} candidates ({self.by_snapshot} by snapshot, {self.without_picture} without a "
            f"picture), {self.known} sent before, {self.given_up} not handed over"
        )


@dataclass(slots=True)
class _Open:
    """An event or review item on its way."""

    key: str
    camera: str
    label: str
    start_time: float
    rule: Rule
    zone: str | None
    due: float
    score: float = 0.0
    end_time: float | None = None
    has_clip: bool = True
    snapshot_of: str | None = None
    members: tuple[str, ...] = ()
    tried_since: float | None = None
    tries: int = 0
    boxes: dict[float, dict[str, Any]] = field(default_factory=dict)


class Bridge:
    """Follows one Frigate.

    Args:
        subscription: Its MQTT messages, not yet started.
        api: Its HTTP API.
        intake: Where events go.
        rules: Which become candidates.
        on_candidate: Told about each event that is committed.
        on_trouble: Told, once each, what goes wrong.
        now: Monotonic clock, s.
    """

    def __init__(
        self,
        subscription: Subscription,
        api: FrigateApi,
        intake: Intake,
        rules: Rules,
        *,
        on_candidate: Callable[[DetectionIn, Accepted], None] = lambda said, accepted: None,
        on_trouble: Callable[[SitrepError], None] = lambda error: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._subscription, self._api, self._intake, self._rules = subscription, api, intake, rules
        self._on_candidate, self._on_trouble, self._now = on_candidate, on_trouble, now
        self.counts = Counts()
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._done: OrderedDict[str, None] = OrderedDict()
        self._sights: OrderedDict[str, dict[float, dict[str, Any]]] = OrderedDict()
        self._config, self._config_s = Config(), -1e9
        self._told: set[str] = set()
        self._stopping = False

    def stop(self) -> None:
        """Ask :meth:`run` to end."""
        self._stopping = True

    def run(self) -> Counts:
        """Follow Frigate until :meth:`stop`; what is due by then is handed over still.

        Raises:
            BrokerError: The MQTT broker does not answer at first, or refuses user and password.
            StoreError: The database cannot be written.
        """
        self._subscription.start()
        try:
            while not self._stopping:
                message = self._subscription.get(_LOOK_S)
                if message is not None:
                    self.take(message)
                self.look()
                if self._subscription.refusal is not None:
                    raise self._subscription.refusal
        finally:
            self._subscription.stop()
        for event in list(self._open.values()):
            if event.end_time is not None:
                self._hand_over(event, last=True)
        return self.counts

    def take(self, message: Message) -> None:
        """Take in one message."""
        self.counts.messages += 1
        try:
            if message.topic == "events":
                read = read_event(message.payload)
                self._object(read.after, read.type == "end")
            elif self._rules.follow == "reviews":
                self._review(read_review(message.payload).after)
        except InboundError as error:
            self.counts.unreadable += 1
            self._tell(error)

    def look(self) -> None:
        """Hand over what is due."""
        now = self._now()
        while len(self._open) > MAX_OPEN:
            self._hand_over(next(iter(self._open.values())), last=True)
        for event in [one for one in self._open.values() if one.due <= now]:
            self._hand_over(event)

    def _object(self, seen: TrackedObject, ended: bool) -> None:
        if seen.false_positive:
            return
        sights = self._sights.setdefault(seen.id, {})
        if seen.box is not None and seen.frame_time is not None and len(sights) < MAX_BOXES:
            sights[seen.frame_time] = {"label": seen.label, "score": seen.best_score, "box": seen.box}
        while len(self._sights) > MAX_OPEN:
            self._sights.popitem(last=False)
        if self._rules.follow != "events" or seen.id in self._done:
            return
        event = self._open.get(seen.id)
        if event is None:
            rule = self._rules.match(seen.camera, seen.label, seen.zones, seen.best_score)
            if rule is None:
                return
            event = self._begin(
                seen.id, seen.camera, seen.label, seen.start_time, rule, rule.zone_of(seen.zones)
            )
        event.score = max(event.score, seen.best_score)
        event.has_clip, event.boxes = seen.has_clip, sights
        event.snapshot_of = seen.id if seen.has_snapshot else None
        event.zone = event.zone or event.rule.zone_of(seen.zones)
        if ended or seen.end_time is not None:
            self._end(event, seen.end_time or seen.frame_time or seen.start_time)

    def _review(self, item: ReviewItem) -> None:
        if item.id in self._done or (self._rules.severity == "alert" and item.severity != "alert"):
            return
        event = self._open.get(item.id)
        if event is None:
            for label in item.data.objects:
                plain = label.removesuffix("-verified")
                rule = self._rules.match(item.camera, plain, item.data.zones, 1.0)
                if rule is not None:
                    zone = rule.zone_of(item.data.zones)
                    event = self._begin(item.id, item.camera, plain, item.start_time, rule, zone)
                    break
        if event is None:
            return
        event.members = item.data.detections
        event.snapshot_of = next(
            (one for one in item.data.detections if self._sights.get(one)), None
        ) or next(iter(item.data.detections), None)
        event.boxes = {t: box for one in item.data.detections for t, box in self._sights.get(one, {}).items()}
        event.score = max((float(box["score"]) for box in event.boxes.values()), default=0.5)
        if item.end_time is not None:
            self._end(event, item.end_time)

    def _begin(
        self, key: str, camera: str, label: str, start_time: float, rule: Rule, zone: str | None
    ) -> _Open:
        self.counts.events += 1
        due = self._now() + self._rules.max_wait_s
        event = self._open[key] = _Open(key, camera, label, start_time, rule, zone, due)
        return event

    def _end(self, event: _Open, end_time: float) -> None:
        if event.end_time is None:
            event.end_time = max(end_time, event.start_time)
            event.due = min(event.due, self._now() + self._rules.settle_s)

    def _hand_over(self, event: _Open, *, last: bool = False) -> None:
        """Commit an event if its pictures are there; else it comes up again, unless this is the last time."""
        now = self._now()
        if event.tried_since is None:
            event.tried_since = now
        event.tries += 1
        # Counted in tries too: an event that waited behind another has not been asked for in that time.
        asked_s = min(now - event.tried_since, event.tries * self._rules.retry_s)
        patient = not last and asked_s < self._rules.patience_s
        try:
            accepted = self._with_clip(event) if event.has_clip else self._without_clip(event)
        except InboundError as error:
            if not event.has_clip:
                self._give_up(event, error)
            elif patient:
                event.due = now + self._rules.retry_s
            else:
                self._tell(error)
                event.has_clip = False
                self._hand_over(event, last=last)
            return
        except SitrepError as error:
            # A full queue, a database or disk that is away for a while: the event waits here.
            if not error.retryable and not isinstance(error, FrameStoreError):
                raise
            self._tell(error)
            event.due = now + (error.retry_after_s if isinstance(error, QueueFull) else _AWAY_S)
            if last:
                self._give_up(event, error)
            return
        self._close(event)
        self.counts.candidates += not accepted.known
        self.counts.known += accepted.known

    def _give_up(self, event: _Open, error: SitrepError) -> None:
        self.counts.given_up += 1
        said = f"event {event.key} was not handed over: {error.message}"
        self._tell(InboundError(said, hint="see it in Frigate"))
        self._close(event)

    def _close(self, event: _Open) -> None:
        self._open.pop(event.key, None)
        self._done[event.key] = None
        while len(self._done) > REMEMBERED:
            self._done.popitem(last=False)

    def _with_clip(self, event: _Open) -> Accepted:
        padding = self._rules.padding_s
        end = event.end_time if event.end_time is not None else time.time()
        lasted = max(0.2, min(end - event.start_time, LONGEST_S))
        said = self._said(event, clip={"from_s": padding, "to_s": padding + lasted})
        span = event.start_time - padding, event.start_time + lasted + padding
        found = (
            self._api.span_clip(event.camera, *span)
            if event.members or lasted == LONGEST_S
            else self._api.event_clip(event.key, padding)
        )
        with ExitStack() as stack:
            try:
                file = stack.enter_context(found)
            except QueueFull as error:
                # A Frigate that is away is waited for no longer than a clip that is not written yet.
                raise InboundError(error.message) from error
            accepted = self._intake.take(said, clip=file)
        self._on_candidate(said, accepted)
        return accepted

    def _without_clip(self, event: _Open) -> Accepted:
        """Never refuses an event: what has no picture goes to a person."""
        said = self._said(event)
        try:
            if event.snapshot_of is None:
                raise InboundError("there is neither clip nor snapshot")
            try:
                picture = self._api.snapshot(event.snapshot_of)
            except QueueFull as error:
                raise InboundError(error.message) from error
            accepted = self._intake.take(said, files=[picture])
            self.counts.by_snapshot += 1
        except InboundError as error:
            note = f"Frigate gave no picture of event {event.key}: {error.message}."
            accepted = self._intake.take_bare(said, note)
            self.counts.without_picture += 1
            self._tell(InboundError(note, hint="it goes to a person; see recording and snapshots in Frigate"))
        self._on_candidate(said, accepted)
        return accepted

    def _said(self, event: _Open, **media: Any) -> DetectionIn:
        size = self._size(event.camera) if event.boxes else None
        boxes = []
        for at, box in sorted(event.boxes.items())[:MAX_BOXES]:
            x1, y1, x2, y2 = box["box"]
            if size is None or not (0 <= x1 < x2 <= size[0] * 1.02 and 0 <= y1 < y2 <= size[1] * 1.02):
                continue
            t_s = max(0.0, at - event.start_time + self._rules.padding_s) if media else None
            if t_s is not None and t_s > LONGEST_S + self._rules.padding_s:
                continue
            boxes.append({**box, "label": _plain(box["label"]), "t_s": t_s})
        if not media and boxes:
            # A snapshot shows one moment; only the strongest sight can belong to it.
            boxes = [max(boxes, key=lambda box: float(box["score"]))]
        said = {
            "detector": DETECTOR,
            "event_id": event.key,
            "camera": _plain(event.camera),
            "event_type": event.rule.event_type,
            "started_at": moment(event.start_time),
            "score": event.score,
            "zone": _plain(event.zone) if event.zone else None,
            "boxes": boxes,
            "image_size": size if boxes else None,
            **media,
        }
        try:
            return DetectionIn.model_validate(said)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InboundError(f"event {event.key} makes no sense: {where}: {first['msg']}") from error

    def _size(self, camera: str) -> tuple[int, int] | None:
        if self._config.size(camera) is None and self._now() - self._config_s > _CONFIG_EVERY_S:
            self._config_s = self._now()
            try:
                self._config = self._api.config()
            except (InboundError, QueueFull) as error:
                self._tell(error)
        return self._config.size(camera)

    def _tell(self, error: SitrepError) -> None:
        if error.message not in self._told:
            self._told.add(error.message)
            self._on_trouble(error)


def _plain(name: str) -> str:
    """A name as Sitrep's edge takes it."""
    return _ODD.sub(" ", name).strip(" .:/@+-")[:60] or "unnamed"
