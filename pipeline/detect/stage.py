"""Stage 1: frames in, candidates out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.detect import facts
from pipeline.detect.cameras import Cameras, load_cameras
from pipeline.detect.catalog import TriggerFactory, make_triggers
from pipeline.detect.events import Event, EventBuilder, EventParams
from pipeline.detect.keyframes import FrameRing, store_views
from pipeline.detect.registry import make_appearance_scorer, make_detector, make_pose_estimator
from pipeline.detect.scene import AppearanceScorer
from pipeline.detect.scenes import LookParams, SceneReader
from pipeline.errors import SourceError
from pipeline.ingest import source_identity
from pipeline.ingest.clock import Sampler
from pipeline.interfaces import Detector, FrameSource, FrameStore, PoseEstimator, SourceInfo
from pipeline.settings import Settings
from pipeline.types import Candidate, Evidence, TriggerScore

Progress = Callable[[float, float], None]
"""Told how many seconds of how many are done; the total is 0 when unknown."""

LIVE_EVENTS = EventParams(max_s=8.0)
"""On cameras an event that goes on is handed over sooner: somebody waits for it."""

_MAX_OBJECTS = 20


@dataclass(slots=True)
class _Origin:
    """Where candidates come from; ``began`` is the clock time of stream time 0, for cameras."""

    info: SourceInfo
    identity: str
    camera: str
    began: datetime | None = None

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
        origin = _Origin(info, source_identity(info), camera)
        reader = SceneReader(self._detector, self._pose, self._appearance, self._look_params)
        ring = FrameRing()
        factories = self._cameras.triggers(camera) if self._triggers is None else self._triggers
        params = self._event_params or (LIVE_EVENTS if info.is_live else EventParams())
        builders = [EventBuilder(trigger, ring, params) for trigger in make_triggers(factories)]
        sampler = Sampler(self._fps)
        total_s = info.frame_count / info.fps if info.fps > 0 else 0.0
        broken: SourceError | None = None
        frames = iter(source.frames())
        while True:
            try:
                frame = next(frames, None)
            except SourceError as error:
                # What was seen up to here is kept; the error follows once it is handed over.
                broken, frame = error, None
            if frame is None:
                break
            if not info.is_still and not sampler.wants(frame.t_s):
                continue
            if info.is_live and origin.began is None:
                origin.began = datetime.now(UTC) - timedelta(seconds=frame.t_s)
            kept = ring.push(frame)
            scene = reader.read(frame, is_still=info.is_still)
            for builder in builders:
                for event in builder.update(scene, kept):
                    yield self._candidate(event, origin)
            if on_progress is not None:
                on_progress(min(frame.t_s, total_s) if total_s else frame.t_s, total_s)
        for builder in builders:
            for event in builder.finish():
                yield self._candidate(event, origin)
        if broken is not None:
            raise broken
        if on_progress is not None and total_s:
            on_progress(total_s, total_s)

    def _candidate(self, event: Event, origin: _Origin) -> Candidate:
        info = origin.info
        shots = event.shots()
        if info.is_still:
            event.facts[facts.STILL_IMAGE] = True
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
            key_frames=tuple(
                view
                for shot in shots
                for view in store_views(shot, self._frame_store, is_still=info.is_still)
            ),
            zone=event.zone,
            wall_time=origin.wall_time(event.start_s),
        )


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
