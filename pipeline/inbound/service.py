"""The intake: one event of an outside detector becomes one committed candidate with one job."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from pipeline.errors import InboundError, QueueFull
from pipeline.inbound import fetch
from pipeline.inbound.describe import Describer
from pipeline.inbound.media import Clip, Media, Picture, in_order
from pipeline.inbound.report import MAX_IMAGES, DetectionIn
from pipeline.inbound.status import latest_job
from pipeline.interfaces import FrameStore
from pipeline.queue.admission import refusal
from pipeline.queue.api import REOPEN, Queue
from pipeline.settings import Settings
from pipeline.store import candidates
from pipeline.store.engine import read
from pipeline.store.jobs import Job
from pipeline.store.schema import JobState
from pipeline.types import Candidate, Evidence, Lane, SeenObject, TriggerScore

MAX_WAITING = 8
"""So many events may wait for the detectors; more are asked to come again."""
WAIT_S = 60.0
RETRY_BUSY_S, RETRY_FULL_S = 5, 30


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event that is committed: it will be judged whatever happens now.

    Attributes:
        candidate_id: Finds it again.
        job_id: Its judgement.
        known: It had been sent before; nothing new was made.
    """

    candidate_id: str
    job_id: str
    known: bool


class Intake:
    """Takes events in. Threads may share one.

    Args:
        settings: Limits, allowed hosts and folder, detectors.
        queue: Makes the queue at the first event.
        frame_store: Where key frames go.
    """

    def __init__(self, settings: Settings, queue: Callable[[], Queue], frame_store: FrameStore) -> None:
        self.settings = settings
        self._make_queue = queue
        self._queue: Queue | None = None
        self._describer = Describer(settings, frame_store)
        self._places = threading.BoundedSemaphore(MAX_WAITING)
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    @property
    def queue(self) -> Queue:
        """The queue, opened on first use."""
        with self._lock:
            if self._queue is None:
                self._queue = self._make_queue()
            return self._queue

    def close(self) -> None:
        """Close the queue if it was opened."""
        with self._lock:
            if self._queue is not None:
                self._queue.close()
                self._queue = None

    def take(
        self, said: DetectionIn, *, files: list[bytes] | None = None, clip: Path | None = None
    ) -> Accepted:
        """Commit an event and have it judged.

        Args:
            said: The event.
            files: Encoded images that came beside it, in order.
            clip: A clip that came beside it.

        Raises:
            InboundError: It cannot be taken as it is.
            QueueFull: Too much waits; nothing is kept, send it again.
            StoreError: The database refused; nothing is kept.
            ModelMissing: The detectors are not installed.
        """
        with ExitStack() as stack:
            if not self._places.acquire(blocking=False):
                raise QueueFull(f"{MAX_WAITING} detections wait already", retry_after_s=RETRY_BUSY_S)
            stack.callback(self._places.release)
            if said.event_id is not None and (known := self._known(said.candidate_id(b""))) is not None:
                return known
            self._admit(said)
            media = stack.enter_context(self._media(said, files or [], clip))
            candidate_id = said.candidate_id(media.digest())
            if not self._turn.acquire(timeout=WAIT_S):
                raise QueueFull("the detectors are busy", retry_after_s=RETRY_BUSY_S)
            stack.callback(self._turn.release)
            # Again, now that nobody else is at it: the same event may have come twice at once.
            if (known := self._known(candidate_id)) is not None:
                return known
            candidate = self._describer.describe(said, media, candidate_id)
            return self._submit(candidate, known=False)

    def take_bare(self, said: DetectionIn, note: str) -> Accepted:
        """Commit an event of which there is no picture: nothing can judge it, so it goes to a person.

        Args:
            said: The event; its ``event_id`` must be given.
            note: Why there is no picture.

        Raises:
            QueueFull, StoreError: As in :meth:`take`.
        """
        candidate_id = said.candidate_id(b"")
        if (known := self._known(candidate_id)) is not None:
            return known
        return self._submit(bare(said, candidate_id, note), known=False)

    def _known(self, candidate_id: str) -> Accepted | None:
        with read(self.queue.engine) as connection:
            job = latest_job(connection, candidate_id)
            candidate = candidates.get(connection, candidate_id) if job else None
        if job is None or candidate is None:
            return None
        if job.state in REOPEN:
            # It was refused for want of room; its pictures are kept, so there is nothing to look at again.
            return self._submit(candidate, known=True)
        return Accepted(candidate_id, job.job_id, known=True)

    def _submit(self, candidate: Candidate, *, known: bool) -> Accepted:
        job: Job = self.queue.submit(candidate, lane=Lane.LIVE)
        if job.state is JobState.SHED:
            raise QueueFull(job.error or "the queue is full", retry_after_s=RETRY_FULL_S)
        return Accepted(candidate.candidate_id, job.job_id, known)

    def _admit(self, said: DetectionIn) -> None:
        """Refuse before the work, not after it."""

        def full(connection: Connection) -> str | None:
            return refusal(connection, self.settings, Lane.LIVE, said.camera)

        with read(self.queue.engine) as connection:
            if reason := full(connection):
                raise QueueFull(reason, retry_after_s=RETRY_FULL_S)

    @contextmanager
    def _media(self, said: DetectionIn, files: list[bytes], clip: Path | None) -> Iterator[Media]:
        ways = [bool(said.images), bool(files), clip is not None, _names_clip(said)]
        if sum(ways) != 1:
            what = "no picture" if not any(ways) else "more than one kind of picture"
            raise InboundError(
                f"the detection comes with {what}", hint="send images, or one clip (file, url or path)"
            )
        part = said.clip
        stretch = (part.from_s, part.to_s, part.at_s) if part is not None else (None, None, None)
        if clip is not None:
            yield Clip(clip, f"{said.detector}:{said.event_id or 'clip'}", *stretch)
        elif part is not None and part.url is not None:
            shown = fetch.check_url(part.url, self.settings)
            with fetch.downloaded(part.url, shown, self.settings) as file:
                yield Clip(file, shown, *stretch)
        elif part is not None and part.path is not None:
            yield Clip(fetch.check_path(part.path, self.settings), part.path, *stretch)
        else:
            yield in_order(_pictures(said, files))


def _names_clip(said: DetectionIn) -> bool:
    return said.clip is not None and (said.clip.url is not None or said.clip.path is not None)


def _pictures(said: DetectionIn, files: list[bytes]) -> list[Picture]:
    if files:
        if len(files) > MAX_IMAGES:
            raise InboundError(
                f"{len(files)} images are too many", hint=f"send at most {MAX_IMAGES}, or a clip"
            )
        times: list[float | None] = list(said.image_times) or [None] * len(files)
        if len(times) != len(files):
            raise InboundError(f"image_times has {len(times)} times for {len(files)} images")
        data = files
    else:
        times, data = [image.t_s for image in said.images], [image.decoded() for image in said.images]
    if len(data) == 1:
        return [Picture(data[0], times[0] or 0.0)]
    pictures = []
    for number, (one, t_s) in enumerate(zip(data, times, strict=True)):
        if t_s is None:
            # Motion is judged between them: a guessed time would show motion that was not there.
            raise InboundError(
                f"image {number} has no time", hint="give t_s (or image_times) when there are several images"
            )
        pictures.append(Picture(one, t_s))
    return pictures


def bare(said: DetectionIn, candidate_id: str, note: str) -> Candidate:
    """A candidate without key frames."""
    seen = tuple(SeenObject(one.label, one.score, one.box, one.t_s or 0.0) for one in said.reported()[:20])
    return Candidate(
        candidate_id=candidate_id,
        camera=said.camera,
        source=f"{said.detector}:{said.event_id}",
        event_type=said.event_type,
        start_s=0.0,
        end_s=0.0,
        trigger=TriggerScore(said.detector, round(said.score, 4)),
        evidence=Evidence(seen, {}, {}, note),
        key_frames=(),
        zone=said.zone,
        wall_time=said.wall_time(),
    )
