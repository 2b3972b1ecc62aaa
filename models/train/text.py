"""Situations to train the joint on: a labelled view, an alarm about it, measurements, a site, and the words.

``python -m models.train.text [N]`` prints N samples as the tower reads them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.base import Inquiry, Score
from models.embedded import phrases
from models.embedded.report import reading_line
from models.embedded.report_facts import (
    EXPECTED,
    FALSE_LOG_ODDS,
    MAIN_ATTRIBUTE,
    REAL_LOG_ODDS,
    Facts,
    gather,
)
from models.train import data, text_sites
from models.train.evidence_features import Seen
from pipeline.detect import facts as names
from pipeline.types import (
    Candidate,
    EventType,
    Evidence,
    KeyFrame,
    Moment,
    SeenObject,
    TriggerScore,
    View,
)
from prompts import load_pack

Random = np.random.Generator

REAL: Mapping[str, tuple[EventType, ...]] = {
    "fire": (EventType.FIRE,),
    "smoke": (EventType.SMOKE,),
    "fight": (EventType.VIOLENCE,),
    "fall": (EventType.FALL,),
    "accident": (EventType.TRAFFIC_ACCIDENT,),
    "crowd": (EventType.CROWDING,),
    "normal_person": (EventType.INTRUSION, EventType.LOITERING),
}
"""Alarms that a label makes real."""
FALSE: Mapping[str, tuple[EventType, ...]] = {
    "fire": (EventType.FALL, EventType.VIOLENCE),
    "smoke": (EventType.FALL, EventType.VIOLENCE),
    "fight": (EventType.FIRE, EventType.SMOKE, EventType.TRAFFIC_ACCIDENT),
    "fall": (EventType.FIRE, EventType.SMOKE, EventType.TRAFFIC_ACCIDENT, EventType.CROWDING),
    "accident": (EventType.VIOLENCE,),
    "crowd": (EventType.FIRE, EventType.TRAFFIC_ACCIDENT),
    "fire_like": (EventType.FIRE, EventType.FIRE, EventType.SMOKE, EventType.VIOLENCE),
    "fall_like": (EventType.FALL, EventType.FALL, EventType.FALL, EventType.VIOLENCE),
    "normal_person": (
        *(EventType.VIOLENCE, EventType.VIOLENCE, EventType.FALL, EventType.FALL, EventType.FIRE),
        *(EventType.SMOKE, EventType.TRAFFIC_ACCIDENT, EventType.OTHER),
    ),
    "normal_empty": (
        *(EventType.FIRE, EventType.SMOKE, EventType.INTRUSION, EventType.LOITERING, EventType.CROWDING),
        *(EventType.ABANDONED_OBJECT, EventType.OTHER, EventType.VIOLENCE),
    ),
    "normal_traffic": (
        *(EventType.TRAFFIC_ACCIDENT, EventType.TRAFFIC_ACCIDENT, EventType.TRAFFIC_ACCIDENT),
        *(EventType.FIRE, EventType.SMOKE, EventType.VIOLENCE, EventType.CROWDING),
    ),
    "general": (EventType.FIRE, EventType.SMOKE, EventType.TRAFFIC_ACCIDENT, EventType.OTHER),
}
"""Alarms that a label makes false; pairs that are not known are left out."""


@dataclass(frozen=True, slots=True)
class Situation:
    """One sample.

    Attributes:
        name: The view's row: file of the corpus or path of the clip.
        candidate: As stage 1 would hand it over.
        site_context: What the site says, "" mostly.
        real: Whether it should be escalated, site context included.
        excused: Whether the site context alone makes it harmless.
        head_log_odds: What the decision head might have said.
        views: The views the tower looks at.
    """

    name: str
    candidate: Candidate
    site_context: str
    real: bool
    excused: bool
    head_log_odds: float
    views: tuple[View, ...]


def _measured(event: EventType, real: bool, random: Random) -> dict[str, float | int | bool]:
    """Measurements as stage 1 gives them; real and false alarms overlap, for a trigger fired on both."""
    shift = 1.0 if real else 0.55

    def about(centre: float, spread: float = 0.6) -> float:
        return float(centre * shift * np.exp(random.normal(0, spread)))

    found: dict[str, float | int | bool] = {
        names.MOTION_AREA: min(0.9, about(0.06, 0.9)),
        names.MOTION_ENERGY: min(0.5, about(0.02, 0.8)),
    }
    if event is EventType.FALL:
        found |= {
            names.TORSO_ANGLE_DEG: float(np.clip(random.normal(72 if real else 52, 18), 2, 90)),
            names.STILL_S: about(4.0),
            names.DESCENT: about(1.1, 0.4),
            names.BOX_ASPECT: about(1.3, 0.4),
            names.PERSON_VANISHED: bool(random.random() < (0.5 if real else 0.2)),
        }
    elif event in (EventType.FIRE, EventType.SMOKE):
        found |= {
            names.FIRE_PIXELS: min(0.9, about(0.05 if event is EventType.FIRE else 0.004, 1.2)),
            names.FIRE_FLICKER: min(1.0, about(0.25)),
            names.SMOKE_AREA: min(0.9, about(0.12, 0.9)),
            names.TEXTURE_LOSS: min(1.0, about(0.3)),
        }
    elif event is EventType.VIOLENCE:
        found |= {
            names.FLOW_PEAK: about(0.9),
            names.LIMB_SPEED: about(2.2),
            names.PEOPLE_OVERLAP: min(1.0, about(0.35)),
        }
    elif event is EventType.TRAFFIC_ACCIDENT:
        found |= {
            names.VEHICLE_STOP: about(1.4),
            names.VEHICLE_OVERLAP: min(1.0, about(0.25)),
            names.TRAJECTORY_BREAK: min(180.0, about(35)),
        }
    elif event in (EventType.INTRUSION, EventType.LOITERING, EventType.ABANDONED_OBJECT):
        found[names.DWELL_S] = about(25 if event is EventType.LOITERING else 8)
    elif event is EventType.CROWDING:
        found[names.CROWD_DENSITY] = min(1.0, about(0.35))
    if random.random() < 0.25:
        return {names.STILL_IMAGE: True, **{k: v for k, v in found.items() if k in _STILL_TOO}}
    return {name: value for name, value in found.items() if random.random() < 0.85}


_STILL_TOO = frozenset(
    {names.TORSO_ANGLE_DEG, names.FIRE_PIXELS, names.SMOKE_AREA, names.CROWD_DENSITY, names.BOX_ASPECT}
)


def _evidence(event: EventType, real: bool, seen: Seen | None, label: str, random: Random) -> Evidence:
    objects: list[SeenObject] = []
    if seen is not None:
        least = float(random.uniform(0.35, 0.6))
        objects = [SeenObject(n, s, b, 0.0) for n, s, b in seen["objects"] if s >= least]
    counts: dict[str, int] = {}
    for item in objects:
        counts[item.label] = counts.get(item.label, 0) + 1
    if seen is None and label == "fight" and random.random() < 0.6:
        counts["person"] = int(random.integers(1, 5))
    found = _measured(event, real, random)
    if counts.get("person") and random.random() < 0.7:
        found[names.PERSON_COUNT] = counts["person"]
    kept = tuple(objects[:20])
    return Evidence(objects=kept, counts=counts, facts=found, note="")


def situation(
    row_name: str, label: str, views: Sequence[View], seen: Seen | None, random: Random, *, sites: bool = True
) -> Situation | None:
    """Draw an alarm about a labelled view; ``None`` where the label answers no alarm."""
    real_types, false_types = REAL.get(label, ()), FALSE.get(label, ())
    if not real_types and not false_types:
        return None
    real = bool(real_types) and (
        not false_types or random.random() < (0.68 if label != "normal_person" else 0.15)
    )
    options = real_types if real else false_types
    event = options[int(random.integers(len(options)))]
    evidence = _evidence(event, real, seen, label, random)
    site, excused = "", False
    draw = random.random() if sites else 1.0
    if draw < (0.3 if real else 0.1):
        site, excused = text_sites.excusing(event, random), True
    elif draw < (0.75 if real else 0.5):
        site = text_sites.irrelevant(event, random)
    # Heads are surer of some true alarms than of others: a site that explains them must outweigh the surest.
    head = float(np.clip(random.normal((4.5 if excused else 2.6) if real else -2.6, 2.0), -8, 8))
    duration = 0.0 if evidence.facts.get(names.STILL_IMAGE) else float(np.exp(random.normal(1.4, 0.8)))
    frames = tuple(KeyFrame("0" * 64, view, Moment.PEAK, 1.0, 320, 240) for view in views)
    zone = ("gate", "hall 2", "platform", "car park", "lobby")[int(random.integers(5))]
    candidate = Candidate(
        candidate_id="training",
        camera="camera",
        source="training",
        event_type=event,
        start_s=0.0,
        end_s=duration,
        trigger=TriggerScore("training", float(random.uniform(0.3, 1.0))),
        evidence=evidence,
        key_frames=frames,
        zone=zone if random.random() < 0.2 or event is EventType.INTRUSION else None,
    )
    return Situation(row_name, candidate, site, real and not excused, excused, head, tuple(views))


def resited(sample: Situation, random: Random) -> Situation | None:
    """The same alarm at a site that turns the answer round; ``None`` for a false alarm."""
    if not sample.real and not sample.excused:
        return None
    event = sample.candidate.event_type
    if sample.excused:
        site = text_sites.irrelevant(event, random) if random.random() < 0.7 else ""
    else:
        site = text_sites.excusing(event, random)
    return replace(sample, site_context=site, real=sample.excused, excused=not sample.excused)


def facts_of(sample: Situation, label: str, random: Random) -> Facts:
    """The facts a report about it would state, with readings as right and as wrong as real ones."""
    event = sample.candidate.event_type
    main = MAIN_ATTRIBUTE.get(event, "")
    attributes = dict.fromkeys(data.POSITIVE.get(label, ()), 0.9)
    if random.random() < 0.15:
        attributes.pop(main, None)
    elif random.random() < 0.12:
        attributes[
            ("fire", "smoke", "fight", "person_down", "crash", "crowd", "weapon", "animal")[
                int(random.integers(8))
            ]
        ] = 0.7
    attributes.setdefault(main, float(random.uniform(0.05, 0.45)))
    if sample.excused and sample.head_log_odds > 0:
        attributes[EXPECTED] = 0.9
    log_odds = float(random.normal(3.0, 1.5) if sample.real else random.normal(-3.0, 1.5))
    if random.random() < 0.15:
        log_odds = float(random.uniform(FALSE_LOG_ODDS, REAL_LOG_ODDS))
    return gather(inquiry_of(sample), Score(log_odds, attributes))


_PACK = load_pack("incident@1.0.0")


def inquiry_of(sample: Situation) -> Inquiry:
    """The inquiry as the reasoner would build it, rendered by the shipped prompt pack, without images."""
    rendered = _PACK.render(sample.candidate, language="en", site_context=sample.site_context)
    candidate = sample.candidate
    return Inquiry(
        messages=rendered.messages,
        narrative_messages=rendered.narrative_messages,
        event_type=candidate.event_type,
        evidence=candidate.evidence,
        key_frames=candidate.key_frames,
        images=(),
        site_context=rendered.site_context,
        duration_s=candidate.end_s - candidate.start_s,
        zone=candidate.zone,
    )


def words_of(facts: Facts, random: Random) -> dict[str, str]:
    """A random wording of the facts."""
    return phrases.write(facts, lambda options: options[int(random.integers(len(options)))])


def main() -> None:
    """Print samples."""
    from prompts.pack import question_text

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    random = np.random.default_rng()
    labels = sorted({*REAL, *FALSE})
    for _ in range(count):
        label = labels[int(random.integers(len(labels)))]
        sample = situation("none", label, (View.FULL,), None, random)
        if sample is None:
            continue
        facts = facts_of(sample, label, random)
        print(f"--- {label}, real {sample.real}, head {sample.head_log_odds:.1f}")
        print(question_text(inquiry_of(sample).messages)[1])
        print(reading_line(facts))
        print(words_of(facts, random))


if __name__ == "__main__":
    main()
