"""Names other datasets use, as Sitrep's event types."""

from __future__ import annotations

from evaluation.dataset import BENIGN
from pipeline.types import EventType

CLIP_SUFFIXES = frozenset(
    {".mp4", ".avi", ".mkv", ".mov", ".webm", ".gif", ".mpg", ".ts", ".jpg", ".jpeg", ".png"}
)

_KNOWN = {
    # plain words and folder names
    "benign": BENIGN, "normal": BENIGN, "normal_videos": BENIGN, "normal_videos_event": BENIGN,
    "no_fight": BENIGN, "nofight": BENIGN, "nonfight": BENIGN, "non_fight": BENIGN, "negative": BENIGN,
    "false_alarm": BENIGN, "fight": EventType.VIOLENCE, "fighting": EventType.VIOLENCE,
    "person_down": EventType.FALL, "fallen": EventType.FALL, "falldown": EventType.FALL,
    "fall_down": EventType.FALL, "crash": EventType.TRAFFIC_ACCIDENT, "accident": EventType.TRAFFIC_ACCIDENT,
    "vehicle_accident": EventType.TRAFFIC_ACCIDENT, "crowd": EventType.CROWDING,
    # UCF-Crime classes (Sultani, Chen & Shah 2018)
    "abuse": EventType.VIOLENCE, "assault": EventType.VIOLENCE, "robbery": EventType.VIOLENCE,
    "arson": EventType.FIRE, "burglary": EventType.INTRUSION, "roadaccidents": EventType.TRAFFIC_ACCIDENT,
    "explosion": EventType.FIRE,
    # KISA certification and AI-Hub event names
    "loitering": EventType.LOITERING, "intrusion": EventType.INTRUSION, "trespass": EventType.INTRUSION,
    "abandonment": EventType.ABANDONED_OBJECT, "abandoned": EventType.ABANDONED_OBJECT,
    "arson_fire": EventType.FIRE, "violence": EventType.VIOLENCE,
    "배회": EventType.LOITERING, "침입": EventType.INTRUSION, "유기": EventType.ABANDONED_OBJECT,
    "쓰러짐": EventType.FALL, "싸움": EventType.VIOLENCE, "폭행": EventType.VIOLENCE, "방화": EventType.FIRE,
    "화재": EventType.FIRE, "실신": EventType.FALL,
}  # fmt: skip


def event_type(word: str) -> str | None:
    """Event type or ``benign`` for a foreign label; ``None`` when it is none Sitrep knows."""
    key = word.strip().lower().replace("-", "_").replace(" ", "_")
    if key in set(EventType):
        return key
    known = _KNOWN.get(key)
    return None if known is None else str(known)
