"""Verdict and narrative of the embedded model, against the same weights in plain torch on the same inputs."""

from __future__ import annotations

import gc
import hashlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.base import Inquiry
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.types import Candidate, EventType, Evidence, KeyFrame, Moment, TriggerScore, View

CLIPS = Path(__file__).parents[2] / "evaluation" / "clips"
DECODED = 48
"""Tokens decoded for the comparison of decoding speed."""
_SITE = "car park of a shopping centre"
_TYPES = (EventType.FALL, EventType.VIOLENCE, EventType.FIRE, EventType.TRAFFIC_ACCIDENT)
_FACTS = {"motion_area": 0.052, "still_s": 3.4, "limb_speed": 1.8, "fire_pixels": 0.03, "vehicle_stop": 0.9}


def run(settings: Settings, rounds: int = 10) -> dict[str, Any]:
    """Measure. Ours and torch's take turns, so that both meet the same machine.

    A candidate is three moments as full, region and motion view and the peak's clip view (ten views, none
    seen before); its verdict covers vision, head and language where the model reads the question's words, its
    narrative the whole English report. Asked as a new installation asks, and, as ``with_site``, with a
    sentence about the site, which the language tower has to read.

    Args:
        settings: Threads and data directory; converted weights are reused.
        rounds: Candidates.

    Returns:
        ``verdict_speedup``, ``tokens_speedup`` (among the words of the report at hand),
        ``free_tokens_speedup`` (among the whole vocabulary), ``verdict_p50_ms``, ``narrative_p50_ms``,
        ``rss_mb`` and the figures they were made of; lists are minimum, median and maximum.
    """
    import psutil

    process = psutil.Process()
    inquiries, told = candidates(rounds + 1), candidates(rounds, site=_SITE)
    with tempfile.TemporaryDirectory() as folder:
        model = _model(settings, Path(folder))
        model.narrate(inquiries[-1], model.score(inquiries[-1:])[0])
        ours: list[float] = []
        narratives: list[float] = []
        resident: list[float] = []
        for inquiry in inquiries[:rounds]:
            start = time.perf_counter()
            (score,) = model.score([inquiry])
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            model.narrate(inquiry, score)
            narratives.append(time.perf_counter() - start)
            resident.append(process.memory_info().rss / 2**20)
        start = time.perf_counter()
        model.score(inquiries[:rounds])
        cached = (time.perf_counter() - start) / rounds
        race = _race(model, settings.model_threads)
        against = race.run(inquiries[:rounds], DECODED)
        against_told = race.run(told, 2)
    gc.collect()
    both = [verdict + narrative for verdict, narrative in zip(ours, narratives, strict=True)]
    return {
        "verdict_speedup": round(against["verdict"], 2),
        "tokens_speedup": round(against["tokens"], 2),
        "free_tokens_speedup": round(against["free"], 2),
        "verdict_p50_ms": round(float(np.median(ours)) * 1e3, 1),
        "narrative_p50_ms": round(float(np.median(narratives)) * 1e3, 1),
        "verdict_and_narrative_p50_ms": round(float(np.median(both)) * 1e3, 1),
        "verdict_cached_batch_ms": round(cached * 1e3, 1),
        "verdict_ms": _spread(ours, 1e3),
        "narrative_ms": _spread(narratives, 1e3),
        "tokens_per_s": round(against["ours_tokens_per_s"], 1),
        "torch_tokens_per_s": round(against["torch_tokens_per_s"], 1),
        "torch_verdict_ms": round(against["torch_verdict_ms"], 1),
        "rss_mb": round(float(np.median(resident)), 1),
        "rss_mb_spread": _spread(resident, 1.0),
        "with_site": {
            "verdict_p50_ms": round(against_told["ours_verdict_ms"], 1),
            "torch_verdict_ms": round(against_told["torch_verdict_ms"], 1),
            "verdict_speedup": round(against_told["verdict"], 2),
        },
        "views": 10,
        "rounds": rounds,
    }


def _model(settings: Settings, folder: Path) -> Any:
    """The embedded model with a feature store of its own, so that nothing was seen before."""
    from models.registry import create

    model: Any = create("embedded", settings)
    model.load()
    model.forget_features(folder)
    return model


def _race(model: Any, threads: int) -> Any:
    from models.embedded.bench import Race

    return Race(model, threads)


def _spread(values: Sequence[float], unit: float) -> list[float]:
    return [round(float(value) * unit, 1) for value in (min(values), np.median(values), max(values))]


def candidates(count: int, site: str = "") -> list[Inquiry]:
    """Inquiries over real frames of the bundled clips, all views different.

    Args:
        count: How many.
        site: What the site says about itself.

    Raises:
        ConfigError: The bundled clips are not there.
    """
    import cv2

    from pipeline.detect.keyframes import motion_view
    from prompts import load_pack

    clips = sorted(CLIPS.glob("*.mp4"))
    if not clips:
        raise ConfigError(f"no clips in {CLIPS}", hint="run from a checkout that has evaluation/clips")
    pack, made = load_pack("incident@1.0.0"), []
    for number in range(count):
        capture = cv2.VideoCapture(str(clips[number % len(clips)]))
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        shown: list[tuple[KeyFrame, bytes]] = []
        for place, moment in enumerate((Moment.BEFORE, Moment.PEAK, Moment.AFTER)):
            capture.set(
                cv2.CAP_PROP_POS_FRAMES, (number // len(clips) * 3 + place * total // 4) % max(1, total - 3)
            )
            frames = [capture.read()[1] for _ in range(3)]
            if any(frame is None for frame in frames):
                raise ConfigError(f"clip {clips[number % len(clips)].name} cannot be read")
            height, width = frames[1].shape[:2]
            views = {
                View.FULL: frames[1],
                View.REGION: frames[1][height // 4 :, width // 4 : 3 * width // 4],
                View.MOTION: motion_view(frames[0], frames[1], frames[2]),
            }
            for view, picture in views.items():
                encoded = cv2.imencode(".jpg", picture)[1].tobytes()
                sha = hashlib.sha256(encoded).hexdigest()
                size = picture.shape[1], picture.shape[0]
                shown.append((KeyFrame(sha, view, moment, float(place), *size), encoded))
        shown += _clip_views(capture, total, number)
        capture.release()
        event = _TYPES[number % len(_TYPES)]
        frames_shown, images = tuple(f for f, _ in shown), tuple(i for _, i in shown)
        candidate = Candidate(
            candidate_id=f"bench-{number}",
            camera="bench",
            source="bench",
            event_type=event,
            start_s=0.0,
            end_s=4.2,
            trigger=TriggerScore("bench", 0.6),
            evidence=Evidence(counts={"person": 2}, facts=_FACTS),
            key_frames=frames_shown,
        )
        text = pack.render(candidate, site_context=site, images=images)
        made.append(
            Inquiry(
                messages=text.messages,
                narrative_messages=text.narrative_messages,
                event_type=event,
                evidence=candidate.evidence,
                key_frames=frames_shown,
                images=images,
                site_context=text.site_context,
                duration_s=4.2,
                options=text.options,
                prompt=pack.ref,
            )
        )
    return made


def _clip_views(capture: Any, total: int, number: int) -> list[tuple[KeyFrame, bytes]]:
    """The two clip views of the peak: eight frames each from the middle of the clip on."""
    import cv2

    from pipeline.clipview import CLIP_FRAMES, clip_sheet

    count = CLIP_FRAMES + 3
    capture.set(cv2.CAP_PROP_POS_FRAMES, (total // 4 + number) % max(1, total - count))
    frames = [capture.read()[1] for _ in range(count)]
    if any(frame is None for frame in frames):
        raise ConfigError("a bundled clip cannot be read", hint="check out evaluation/clips again")
    made = []
    for first in (0, 3):
        sheet = clip_sheet(frames[first : first + CLIP_FRAMES])
        encoded = cv2.imencode(".jpg", sheet)[1].tobytes()
        sha = hashlib.sha256(encoded).hexdigest()
        made.append((KeyFrame(sha, View.CLIP, Moment.PEAK, 1.0, sheet.shape[1], sheet.shape[0]), encoded))
    return made
