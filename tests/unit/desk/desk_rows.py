"""Puts real rows into a real store, the way stage 1 and a worker do: real pictures, real store functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from sqlalchemy import Engine

from pipeline.interfaces import FrameStore
from pipeline.queue import work
from pipeline.queue.api import Queue
from pipeline.settings import Settings
from pipeline.store.engine import open_store
from pipeline.store.frames import open_frame_store
from pipeline.types import (
    Action,
    Candidate,
    Criterion,
    EventType,
    Evidence,
    KeyFrame,
    Lane,
    Moment,
    Narrative,
    Priority,
    Provenance,
    SeenObject,
    TriggerScore,
    Verdict,
    VerdictState,
    View,
)

CLIPS = Path(__file__).resolve().parents[3] / "evaluation" / "clips"
TOKEN = "a-token-for-tests"


def picture(clip: str, t_s: float) -> np.ndarray:
    """A frame of a bundled clip, or a drawn scene when the clip was left out."""
    capture = cv2.VideoCapture(str(CLIPS / clip))
    capture.set(cv2.CAP_PROP_POS_MSEC, t_s * 1e3)
    done, image = capture.read()
    capture.release()
    if done:
        return image
    image = np.full((240, 320, 3), 90, np.uint8)
    cv2.circle(image, (160, 70), 22, (150, 180, 220), -1)
    cv2.rectangle(image, (130, 92), (190, 220), (60, 60, 160), -1)
    return image


@dataclass
class Seeded:
    """A store with rows in it."""

    settings: Settings
    engine: Engine
    frames: FrameStore
    queue: Queue
    pages: dict[str, str] = field(default_factory=dict)

    def candidate(
        self,
        clip: str,
        event_type: EventType,
        moments: tuple[float, ...],
        box: tuple[float, float, float, float],
        *,
        camera: str = "",
        zone: str | None = None,
        wall_time: str | None = None,
        note: str = "",
        facts: dict[str, float | bool] | None = None,
        label: str = "person",
    ) -> Candidate:
        """A candidate with full, region and motion views of a bundled clip."""
        names = (Moment.PEAK,) if len(moments) == 1 else (Moment.BEFORE, Moment.PEAK, Moment.AFTER)
        key_frames: list[KeyFrame] = []
        for moment, t_s in zip(names, moments, strict=False):
            image = picture(clip, t_s)
            height, width = image.shape[:2]
            key_frames.append(self.store(image, View.FULL, moment, t_s, None))
            x1, y1, x2, y2 = (round(v * s) for v, s in zip(box, (width, height, width, height), strict=True))
            key_frames.append(self.store(image[y1:y2, x1:x2].copy(), View.REGION, moment, t_s, box))
            if moment is Moment.PEAK:
                grey = [
                    cv2.cvtColor(picture(clip, max(t_s + d, 0)), cv2.COLOR_BGR2GRAY) for d in (-0.2, 0, 0.2)
                ]
                key_frames.append(self.store(np.dstack(grey), View.MOTION, moment, t_s, None))
        peak = moments[len(moments) // 2]
        return Candidate(
            candidate_id=f"{clip}-{event_type}-{moments[0]}".replace(".", "-"),
            camera=camera or Path(clip).stem,
            source=clip,
            event_type=event_type,
            start_s=moments[0],
            end_s=moments[-1] + 0.5,
            trigger=TriggerScore(f"{event_type}_rule", 0.83),
            evidence=Evidence(
                objects=(SeenObject(label, 0.91, box, peak, 1),),
                counts={label: 1},
                facts=facts or {"motion_area": 0.12, "still_s": 3.4},
                note=note,
            ),
            key_frames=tuple(key_frames),
            zone=zone,
            wall_time=wall_time,
        )

    def store(
        self, image: np.ndarray, view: View, moment: Moment, t_s: float, box: tuple[float, ...] | None
    ) -> KeyFrame:
        """Encode and store one picture."""
        done, encoded = cv2.imencode(".jpg", image)
        assert done
        sha256 = self.frames.put(encoded.tobytes())
        height, width = image.shape[:2]
        return KeyFrame(sha256, view, moment, t_s, width, height, box)  # type: ignore[arg-type]

    def judged(self, candidate: Candidate, verdict: Verdict, lane: Lane = Lane.LIVE) -> None:
        """Carry a candidate through the queue's own functions to its verdict."""
        job = self.queue.submit(candidate, lane=lane, prompt="incident@1.0.0", prompt_sha256="ab" * 32)
        claimed = work.claim(self.engine, self.settings, job.job_id, "test/1")
        assert claimed is not None
        assert work.finish(self.engine, claimed[0], candidate, verdict)


def verdict(
    candidate: Candidate,
    score: float | None,
    action: Action,
    priority: Priority,
    reason: str,
    narrative: Narrative | None = None,
    **more: object,
) -> Verdict:
    """A verdict as the reasoner makes it."""
    state = {
        Action.ESCALATE: VerdictState.CONFIRMED,
        Action.REVIEW: VerdictState.UNCERTAIN,
        Action.DISMISS: VerdictState.REJECTED,
    }[action]
    values: dict[str, object] = {
        "state": VerdictState.FAILED if score is None else state,
        "score": score,
        "action": action,
        "priority": priority,
        "reason": reason,
        "provenance": Provenance(
            "embedded:sitrep-vlm@0.1.0",
            "incident@1.0.0",
            "ab" * 32,
            tuple(frame.sha256 for frame in candidate.key_frames),
            {"escalate_at": 0.62, "dismiss_below": 0.18, "calibrated": True},
            "0.1.0",
            "ssd-mobilenet-v2",
        ),
        "category": str(candidate.event_type),
        "criteria": (
            Criterion("person detected", True, "detector: 1 at most", candidate.key_frames[0].sha256),
            Criterion("stays still", score is not None and score > 0.5, "still 3.4 s"),
        ),
        "narrative": narrative,
        "grounded": None if narrative is None else True,
        "timings_ms": {"queued": 41.0, "verdict": 318.0, "narrative": 1260.0},
        "log_odds": None if score is None else 2.4,
    }
    return Verdict(**{**values, **more})  # type: ignore[arg-type]


FALL_TEXT = Narrative(
    title="A person has fallen and stays on the floor",
    summary="One person walks in, collapses beside the chair and does not get up for 3 s.",
    narrative="A person enters from the left and walks towards the chair. At 0:04 the person collapses "
    "to the floor and stays there, curled up, until the end of what was seen. Nobody else is in view.",
    reason="The body goes from upright to lying within a second and stays still; no seat or bed is near.",
    recommended_action="Send help to the room now and call the person by loudspeaker.",
    observations=("One person in an office.", "The person lies on the floor.", "No second person."),
)
FIRE_TEXT = Narrative(
    title="Open fire on a small wooden house in a garden",
    summary="Flames and smoke rise from a small house outdoors and grow.",
    narrative="Flames come out of a small wooden house that stands on grass. Smoke drifts to the right. "
    "The fire grows from one moment to the next.",
    reason="Flames are bright, flicker and grow; smoke rises above them.",
    recommended_action="Call the fire service.",
    observations=("Bright flames.", "Grey smoke.", "Nobody in view."),
)
WALK_TEXT = Narrative(
    title="People walk across a lawn, nobody falls",
    summary="Several people cross the campus at walking pace.",
    narrative="People cross a lawn at walking pace. One bends down for a moment and walks on.",
    reason="Everybody stays upright; the low box is a person far away.",
    recommended_action="Nothing to do.",
    observations=("Several pedestrians.", "Everybody is upright."),
)
KOREAN = Narrative(
    title="선반 통로에서 두 사람이 가까이 서 있음",
    summary="두 사람이 물건을 고르며 팔을 뻗고 있습니다. 몸싸움은 보이지 않습니다.",
    narrative="매장 통로에서 두 사람이 나란히 서서 선반을 가리킵니다. 밀거나 때리는 동작은 없습니다.",
    reason="팔의 움직임이 크지만 서로를 향하지 않습니다.",
    recommended_action="화면을 확인하세요.",
    observations=("두 사람이 있습니다.", "선반을 가리킵니다."),
    language="ko",
)


def open_desk(data_dir: Path, *, migrate: bool = True) -> Seeded:
    """A store with its settings."""
    settings = Settings(data_dir=data_dir, token=TOKEN)  # type: ignore[arg-type]
    engine = open_store(settings, migrate=migrate)
    return Seeded(settings, engine, open_frame_store(settings), Queue(settings, engine))


def fill(desk: Seeded) -> Seeded:
    """Seven candidates: escalated, for review, failed, dismissed twice, joined, and one that waits."""
    fall = desk.candidate(
        "fall-in-office-1.mp4",
        EventType.FALL,
        (2.6, 4.0, 5.2),
        (0.3, 0.3, 0.8, 0.98),
        camera="office-2",
        zone="east room",
        note="A person's box turned from upright to lying and stayed still.",
        facts={"torso_angle_deg": 78.3, "still_s": 3.41, "box_aspect": 1.62, "head_below_hip": True},
    )
    desk.judged(
        fall,
        verdict(
            fall,
            0.93,
            Action.ESCALATE,
            Priority.HIGH,
            "The score 0.93 is at or above 0.62: a person is called.",
            FALL_TEXT,
        ),
    )
    again = desk.candidate(
        "fall-in-office-1.mp4", EventType.FALL, (5.0,), (0.3, 0.4, 0.8, 0.98), camera="office-2"
    )
    desk.judged(
        again,
        verdict(
            again, 0.71, Action.ESCALATE, Priority.HIGH, "The score 0.71 is at or above 0.62.", FALL_TEXT
        ),
    )
    fire = desk.candidate(
        "doll-house-fire.mp4",
        EventType.FIRE,
        (8.0, 14.0, 20.0),
        (0.25, 0.2, 0.75, 0.8),
        camera="garden-1",
        label="fire",
        note="Flickering, growing, fire-coloured area.",
        facts={"fire_pixels": 0.043, "flicker_hz": 7.2},
    )
    desk.judged(
        fire,
        verdict(
            fire,
            0.995,
            Action.ESCALATE,
            Priority.CRITICAL,
            "The score 1.00 is at or above 0.62: a person is called.",
            FIRE_TEXT,
        ),
    )
    aisle = desk.candidate(
        "store-aisle.mp4",
        EventType.VIOLENCE,
        (1.0, 2.0, 3.0),
        (0.2, 0.1, 0.8, 0.95),
        camera="매장 3",
        note="Two people close together, fast arms.",
    )
    desk.judged(
        aisle,
        verdict(
            aisle,
            0.34,
            Action.REVIEW,
            Priority.HIGH,
            "The score 0.34 lies between 0.18 and 0.62: a person should check.",
            KOREAN,
            grounded=False,
        ),
    )
    broken = desk.candidate(
        "three-people-pause.mp4",
        EventType.VIOLENCE,
        (1.0,),
        (0.1, 0.1, 0.9, 0.9),
        camera="lobby",
        note="Three people close together.",
    )
    desk.judged(
        broken,
        verdict(
            broken,
            None,
            Action.REVIEW,
            Priority.HIGH,
            "There is no score (the reply cannot be read): a person must decide.",
            error_source="reply",
            error="the reply is not JSON",
            raw_reply='{"observations": ["Three <b>people</b> stand',
            timings_ms={"queued": 12.0, "verdict": 300.0},
        ),
    )
    walkers = desk.candidate(
        "campus-walkers.mp4",
        EventType.FALL,
        (4.0, 5.0, 6.0),
        (0.4, 0.3, 0.6, 0.7),
        camera="campus-north",
        note="A box became wider than high.",
    )
    desk.judged(
        walkers,
        verdict(
            walkers,
            0.04,
            Action.DISMISS,
            Priority.LOW,
            "The score 0.04 is below 0.18: dismissed.",
            WALK_TEXT,
        ),
    )
    hand = desk.candidate(
        "hand-over-lens.mp4",
        EventType.SMOKE,
        (2.0,),
        (0.1, 0.1, 0.9, 0.9),
        camera="tree-cam",
        label="smoke",
        note="Grey area without texture grew.",
    )
    desk.judged(
        hand, verdict(hand, 0.002, Action.DISMISS, Priority.LOW, "The score 0.00 is below 0.18: dismissed.")
    )
    waiting = desk.candidate("worker-in-hall.mp4", EventType.INTRUSION, (1.0,), (0.2, 0.2, 0.8, 0.9))
    desk.queue.submit(waiting, lane=Lane.LIVE)
    return desk
