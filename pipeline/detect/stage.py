"""Stage 1: frames in, candidates out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.detect import facts
from pipeline.detect.cameras import Cameras, load_cameras
from pipeline.detect.catalog import TriggerFactory, make_triggers
from pipeline.detect.events import Event, EventBuilder, EventParams
from pipeline.detect.keyframes import FrameRing, store_clips, store_views
from pipeline.detect.registry import make_appearance_scorer, make_detector, make_pose_estimator
from pipeline.detect.scene import AppearanceScorer, Scene
from pipeline.detect.scenes import LookParams, SceneReader, read_together
from pipeline.errors import SourceError
from pipeline.ingest import source_identity
from pipeline.ingest.ahead import ahead
from pipeline.ingest.clock import Sampler
from pipeline.interfaces import Detector, FrameSource, FrameStore, PoseEstimator, SourceInfo
from pipeline.settings import Settings
from pipeline.types import Candidate, Evidence, Frame, TriggerScore

Progress = Callable[[float, float], None]
"""Told how many seconds of how many are done; the total is 0 when unknown."""

LIVE_EVENTS = EventParams(max_s=8.0)
"""On cameras an event that goes on is handed over sooner: somebody waits for it."""

_MAX_OBJECTS = 20
_CLOCK_SET_S = 0.5


@dataclass(slots=True)
class _Origin:
    """Where candidates come from.

    For cameras ``began`` is the clock time of stream time 0, and ``ahead_s`` how far the machine's clock was
    ahead of the one that never jumps when that was found out.
    """

    info: SourceInfo
    identity: str
    camera: str
    began: datetime | None = None
    ahead_s: float = 0.0

    def keep_time(self, t_s: float) -> None:
        """Follow the machine's clock when it is set while the camera runs."""
        ahead_s = time.time() - time.monotonic()
        if self.began is None:
            self.began, self.ahead_s = datetime.now(UTC) - timedelta(seconds=t_s), ahead_s
        elif abs(ahead_s - self.ahead_s) > _CLOCK_SET_S:
            self.began += timedelta(seconds=ahead_s - self.ahead_s)
            self.ahead_s = ahead_s

    def wall_time(self, start_s: float) -> str | None:
        if self.began is None:
            return None
        return (self.began + timedelta(seconds=start_s)).isoformat(timespec="milliseconds")


class Stage1:
    """Detectors and triggers, ready for any number of streams one after another.

    Args:
        settings: ``detect_fps`` is read.
        frame_store: Where key frames go.
        detector: Finds objects.
        pose: Finds people's key points.
        triggers: Factories of triggers for every stream; ``None``: what ``cameras`` says.
        cameras: Per-camera set-up; ``None`` for the defaults.
        appearance: Reads attributes off whole frames; optional.
        event_params: How firings become events; ``None``: shorter for cameras than for clips.
        look_params: When the detectors look.
    """

    def __init__(
        self,
        settings: Settings,
        frame_store: FrameStore,
        detector: Detector,
        pose: PoseEstimator,
        *,
        triggers: Sequence[TriggerFactory] | None = None,
        cameras: Cameras | None = None,
        appearance: AppearanceScorer | None = None,
        event_params: EventParams | None = None,
        look_params: LookParams | None = None,
    ) -> None:
        self._fps = settings.detect_fps
        self._frame_store = frame_store
        self._detector, self._pose, self._appearance = detector, pose, appearance
        self._triggers = triggers
        self._cameras = cameras or Cameras()
        self._event_params, self._look_params = event_params, look_params

    def stream(self, info: SourceInfo, camera: str) -> Stream:
        """One stream's memory: motion, tracks, triggers. The detectors behind it are shared.

        Args:
            info: What is known about the source.
            camera: Name of the camera, or of the clip.

        Raises:
            SourceError: The source cannot be read.
        """
        ring = FrameRing()
        factories = self._cameras.triggers(camera) if self._triggers is None else self._triggers
        params = self._event_params or (LIVE_EVENTS if info.is_live else EventParams())
        return Stream(
            _Origin(info, source_identity(info), camera),
            SceneReader(self._detector, self._pose, self._appearance, self._look_params),
            ring,
            [EventBuilder(trigger, ring, params) for trigger in make_triggers(factories)],
            Sampler(self._fps),
            self._frame_store,
        )

    def run(
        self, source: FrameSource, *, camera: str, on_progress: Progress | None = None
    ) -> Iterator[Candidate]:
        """Candidates of one source, each as soon as its event has ended.

        Args:
            source: Frames in stream order; more than ``detect_fps`` a second are skipped.
            camera: Name of the camera, or of the clip.
            on_progress: Called after each frame looked at.

        Raises:
            SourceError: The source broke off. All candidates up to there have been yielded.
        """
        info = source.info
        stream = self.stream(info, camera)
        total_s = info.frame_count / info.fps if info.fps > 0 else 0.0
        broken: SourceError | None = None
        # A camera has its reader already.
        frames = iter(source.frames()) if info.is_live or info.is_still else ahead(source.frames())
        while True:
            try:
                frame = next(frames, None)
            except SourceError as error:
                # What was seen up to here is kept; the error follows once it is handed over.
                broken, frame = error, None
            if frame is None:
                break
            if not stream.wants(frame):
                continue
            yield from look_together([(stream, frame)])[0]
            if on_progress is not None:
                on_progress(min(frame.t_s, total_s) if total_s else frame.t_s, total_s)
        yield from stream.finish()
        if broken is not None:
            raise broken
        if on_progress is not None and total_s:
            on_progress(total_s, total_s)


class Stream:
    """What stage 1 remembers of one stream; made by :meth:`Stage1.stream`."""

    def __init__(
        self,
        origin: _Origin,
        reader: SceneReader,
        ring: FrameRing,
        builders: Sequence[EventBuilder],
        sampler: Sampler,
        frame_store: FrameStore,
    ) -> None:
        self.reader = reader
        self._origin, self._ring, self._builders = origin, ring, builders
        self._sampler, self._frame_store = sampler, frame_store

    @property
    def camera(self) -> str:
        """Name of the camera, or of the clip."""
        return self._origin.camera

    @property
    def is_still(self) -> bool:
        """Whether it is a single picture."""
        return self._origin.info.is_still

    def wants(self, frame: Frame) -> bool:
        """Whether this frame is one to look at. Call once a frame, in order."""
        return self.is_still or self._sampler.wants(frame.t_s)

    def take_in(self, scene: Scene) -> list[Candidate]:
        """Show the triggers one scene; candidates of the events that ended with it."""
        origin = self._origin
        if origin.info.is_live:
            origin.keep_time(scene.t_s)
        if scene.motion.cut:
            self._ring.clear()
            for builder in self._builders:
                builder.cut()
        kept = self._ring.push(scene.frame)
        return [self._candidate(event) for builder in self._builders for event in builder.update(scene, kept)]

    def finish(self) -> list[Candidate]:
        """Candidates of the events that go on when the stream ends."""
        return [self._candidate(event) for builder in self._builders for event in builder.finish()]

    def _candidate(self, event: Event) -> Candidate:
        origin = self._origin
        info = origin.info
        shots = event.shots()
        if info.is_still:
            event.facts[facts.STILL_IMAGE] = True
        views = [
            view for shot in shots for view in store_views(shot, self._frame_store, is_still=info.is_still)
        ]
        if event.peak is not None and not info.is_still:
            views += store_clips(event.peak, self._frame_store)
        objects = sorted(event.objects.values(), key=lambda seen: -seen.score)[:_MAX_OBJECTS]
        return Candidate(
            candidate_id=candidate_id(origin.identity, event, origin.wall_time(event.start_s)),
            camera=origin.camera,
            source=info.uri,
            event_type=event.trigger.event_type,
            start_s=round(event.start_s, 3),
            end_s=round(max(event.last_s, event.start_s), 3),
            trigger=TriggerScore(event.trigger.name, round(event.best.score, 4)),
            evidence=Evidence(tuple(objects), dict(event.counts), dict(event.facts), event.best.note),
            key_frames=tuple(views),
            zone=event.zone,
            wall_time=origin.wall_time(event.start_s),
        )


def look_together(pairs: Sequence[tuple[Stream, Frame]]) -> list[list[Candidate]]:
    """Look at one frame of each of several streams, with one batch for the detectors.

    Args:
        pairs: A stream and its next frame, each stream once; all from one :class:`Stage1`.

    Returns:
        Candidates of each stream, in order.
    """
    still = any(stream.is_still for stream, _ in pairs)
    scenes = read_together([(stream.reader, frame) for stream, frame in pairs], is_still=still)
    return [stream.take_in(scene) for (stream, _), scene in zip(pairs, scenes, strict=True)]


def candidate_id(identity: str, event: Event, wall_time: str | None = None) -> str:
    """The same source content, type, start and trigger give the same id again: 16 hex digits.

    A camera's stream time starts anew with each connection, so its events are told apart by the clock.
    """
    start = wall_time or str(round(event.start_s * 1000))
    parts = (identity, event.trigger.event_type.value, start, event.trigger.name)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def build_stage1(settings: Settings, frame_store: FrameStore) -> Stage1:
    """Stage 1 as the settings say, with the detectors Sitrep ships.

    Raises:
        ConfigError: The camera file is wrong.
        ModelMissing: The weights of a detector are not installed.
    """
    threads = settings.detect_threads
    return Stage1(
        settings,
        frame_store,
        make_detector(settings.detector, settings.data_dir, threads=threads),
        make_pose_estimator("movenet", settings.data_dir, threads=threads),
        cameras=load_cameras(settings.cameras),
        appearance=make_appearance_scorer("eyes", settings.data_dir, threads=threads),
    )
