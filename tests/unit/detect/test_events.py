from __future__ import annotations

import numpy as np

from pipeline.detect import facts
from pipeline.detect.events import Event, EventBuilder, merge_facts, note_objects
from pipeline.detect.keyframes import FrameRing
from pipeline.detect.scene import Firing, Scene
from pipeline.types import EventType, JsonScalar, Moment
from tests.unit.detect.scenes_for_tests import Stream


class Scripted:
    """Fires when the script says so: score by time."""

    name = "scripted"
    event_type = EventType.FALL

    def __init__(self, script: dict[float, float], onset_s: float | None = None) -> None:
        self.script = script
        self.onset_s = onset_s

    def update(self, scene: Scene) -> Firing | None:
        score = self.script.get(round(scene.t_s, 1))
        if score is None:
            return None
        return Firing(score, f"score {score}", {facts.FIRE_PIXELS: score}, (0.2, 0.2, 0.4, 0.4), self.onset_s)


def play(script: dict[float, float], seconds: float, onset_s: float | None = None) -> list[Event]:
    stream, ring = Stream(), FrameRing()
    builder = EventBuilder(Scripted(script, onset_s), ring)
    events: list[Event] = []
    for _ in range(round(seconds * 5)):
        scene = stream.scene(image=np.full((60, 80, 3), stream.index % 250, np.uint8))
        events += builder.update(scene, ring.push(scene.frame))
    return events + builder.finish()


def at(*times: float, score: float = 0.5) -> dict[float, float]:
    return dict.fromkeys(times, score)


def test_firings_close_together_are_one_event() -> None:
    events = play(at(2.0, 4.0, 6.8, 12.0), 20)
    assert [(event.start_s, round(event.last_s, 1)) for event in events] == [(2.0, 6.8), (12.0, 12.0)]


def test_event_is_capped_and_not_begun_again_at_once() -> None:
    always = {round(0.2 * i, 1): 0.5 for i in range(1000)}
    events = play(always, 120)
    assert len(events) == 2
    assert events[0].last_s - events[0].start_s <= 30.01
    assert events[1].start_s - events[0].last_s >= 59.9


def test_new_event_after_a_pause_is_not_muted() -> None:
    script = {round(0.2 * i, 1): 0.5 for i in range(200)} | at(50.0)
    assert len(play(script, 60)) == 2


def test_moments_before_peak_and_after() -> None:
    (event,) = play(at(4.0, 4.2) | at(6.0, score=0.9) | at(6.2), 12)
    shots = event.shots()
    assert shots[0].moment is Moment.BEFORE
    assert [round(shot.now.t_s, 1) for shot in shots] == [3.0, 4.0, 6.0, 8.0]
    assert shots[-1].moment is Moment.AFTER
    assert event.best.score == 0.9
    for shot in shots[1:3]:
        assert shot.before is not None and shot.after is not None
        assert shot.before.t_s < shot.now.t_s < shot.after.t_s


def test_onset_before_the_firing_is_the_start() -> None:
    (event,) = play(at(4.0), 8, onset_s=3.4)
    assert event.start_s == 3.4


def test_extremes_of_measurements_are_kept() -> None:
    kept: dict[str, JsonScalar] = {"fire_pixels": 0.2, "people_distance": 0.5, "person_vanished": False}
    merge_facts(kept, {"fire_pixels": 0.1, "people_distance": 0.1, "person_vanished": True, "still_s": 2.0})
    assert kept == {"fire_pixels": 0.2, "people_distance": 0.1, "person_vanished": True, "still_s": 2.0}


def test_a_weak_second_box_on_a_person_is_not_counted_as_another() -> None:
    sure, half = (100.0, 40.0, 160.0, 220.0), (110.0, 120.0, 175.0, 218.0)
    beside = (200.0, 40.0, 250.0, 220.0)
    event = Event(Scripted({}), 0.0, 0.0, Firing(0.5, "", {}), {})
    note_objects(event, Stream().scene([("person", 0.9, sure), ("person", 0.4, half)]))
    assert event.counts == {"person": 1}
    # Somebody half hidden whom the detector is sure of counts, as does a weak one who stands apart.
    note_objects(event, Stream().scene([("person", 0.9, sure), ("person", 0.8, half)]))
    assert event.counts == {"person": 2}
    note_objects(
        event, Stream().scene([("person", 0.9, sure), ("person", 0.8, half), ("person", 0.4, beside)])
    )
    assert event.counts == {"person": 3}
