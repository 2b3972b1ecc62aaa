"""Turns a reported event into a candidate: stage 1's eyes on the pictures that came with it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pipeline.detect.registry import make_appearance_scorer, make_detector, make_pose_estimator
from pipeline.detect.reported import WHOLE_EVENT, WINDOW_S, Report, ReportedTrigger, as_reported
from pipeline.detect.scene import AppearanceScorer
from pipeline.detect.scenes import LookParams
from pipeline.detect.stage import Stage1
from pipeline.errors import InboundError, SourceError
from pipeline.inbound.media import Clip, Media, PictureSource, open_clip, stretch
from pipeline.inbound.report import DetectionIn
from pipeline.interfaces import Detector, FrameSource, FrameStore, PoseEstimator
from pipeline.settings import Settings
from pipeline.types import Candidate

_EVERY_PICTURE = LookParams(
    idle_every_s=0.0,
    refresh_s=0.0,
    held_every_s=0.0,
    empty_every_s=0.0,
    pose_hold_s=1e9,
    pose_probe=1,
    appearance_still_s=1.0,
)
"""Somebody chose these images: the detectors look at each."""
_PICTURE_FPS = 60.0
_FOREVER_S = 1e9


class Describer:
    """Stage 1's detectors, loaded at the first event and used by one thread at a time.

    Args:
        settings: Which detector, how many threads and frames a second.
        frame_store: Where key frames go.
    """

    def __init__(self, settings: Settings, frame_store: FrameStore) -> None:
        self._settings, self._frames = settings, frame_store
        self._lock = threading.Lock()
        self._parts: tuple[Detector, PoseEstimator, AppearanceScorer] | None = None

    def describe(self, said: DetectionIn, media: Media, candidate_id: str) -> Candidate:
        """The candidate of a reported event, its key frames stored.

        Raises:
            InboundError: The pictures cannot be read, or the event does not lie in them.
            FrameStoreError: A key frame cannot be stored.
            ModelMissing: The detectors are not installed.
        """
        source: FrameSource
        if isinstance(media, Clip):
            source = open_clip(media, self._settings.detect_fps)
            report = _in_clip(said, media, source)
            if not source.info.is_still:
                source = stretch(media, source, report.start_s, report.end_s)
            name, look, fps = media.name, None, self._settings.detect_fps
        else:
            times = [picture.t_s for picture in media.pictures]
            report = _report(said, times[0], times[-1], None)
            name = f"{said.detector}:{said.event_id}" if said.event_id else said.detector
            source, look, fps = PictureSource(media, name), _EVERY_PICTURE, _PICTURE_FPS
        try:
            candidate = self._run(source, said.camera, report, look, fps)
        except SourceError as error:
            file = str(media.file) if isinstance(media, Clip) else name
            raise InboundError(error.message.replace(file, name), hint=error.hint) from error
        finally:
            source.close()
        if candidate is None:
            where = f"{report.start_s:g} to {report.end_s:g} s"
            raise InboundError(f"clip {name} has no frame from {where}", hint="check from_s and to_s")
        return as_reported(
            candidate, report, candidate_id=candidate_id, source=name, wall_time=said.wall_time()
        )

    def _run(
        self, source: FrameSource, camera: str, report: Report, look: LookParams | None, fps: float
    ) -> Candidate | None:
        with self._lock:
            detector, pose, appearance = self._loaded()
            settings = self._settings.model_copy(update={"detect_fps": fps})
            trigger: Callable[[], ReportedTrigger] = lambda: ReportedTrigger(report)  # noqa: E731
            stage1 = Stage1(
                settings,
                self._frames,
                detector,
                pose,
                triggers=[trigger],
                appearance=appearance,
                event_params=WHOLE_EVENT,
                look_params=look,
            )
            return next(iter(list(stage1.run(source, camera=camera))), None)

    def _loaded(self) -> tuple[Detector, PoseEstimator, AppearanceScorer]:
        if self._parts is None:
            settings, threads = self._settings, self._settings.detect_threads
            self._parts = (
                make_detector(settings.detector, settings.data_dir, threads=threads),
                make_pose_estimator("movenet", settings.data_dir, threads=threads),
                make_appearance_scorer("eyes", settings.data_dir, threads=threads),
            )
        return self._parts


def _in_clip(said: DetectionIn, clip: Clip, source: FrameSource) -> Report:
    """The event in the clip's time, at most ``WINDOW_S`` long, around its best moment where that is known."""
    info = source.info
    length = info.frame_count / info.fps if info.fps > 0 and info.frame_count else _FOREVER_S
    timed = [box for box in said.boxes if box.t_s is not None]
    best = max(timed, key=lambda box: box.score, default=None)
    at_s = clip.at_s if clip.at_s is not None else best.t_s if best is not None else None
    start = clip.from_s if clip.from_s is not None else 0.0
    end = min(length, clip.to_s if clip.to_s is not None else length)
    if at_s is not None and clip.from_s is None and clip.to_s is None:
        start, end = max(0.0, at_s - WINDOW_S / 2), min(end, at_s + WINDOW_S / 2)
    if end - start > WINDOW_S:
        around = start + WINDOW_S / 2 if at_s is None else at_s
        start = min(max(start, around - WINDOW_S / 2), end - WINDOW_S)
        end = start + WINDOW_S
    return _report(said, start, end, clip.at_s)


def _report(said: DetectionIn, start_s: float, end_s: float, peak_s: float | None) -> Report:
    return Report(
        said.detector, said.event_type, said.score, start_s, end_s, peak_s, said.reported(), said.zone
    )
