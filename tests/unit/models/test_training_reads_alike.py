"""What training reads of an alarm is what the run time reads of it: one candidate, both ways, one number."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import cv2
import pytest
from support.command import CLIPS, share_converted

from models.base import Inquiry
from models.embedded.heads import DecisionHead
from models.embedded.model import create
from models.embedded.views import looked_at
from models.embedded.vision import VisionEncoder
from models.embedded.vision_clip import ClipEncoder
from models.embedded.vision_scene import SceneEncoder
from models.train.mined_candidates import Eyes, MemoryStore, features_of
from pipeline.detect import build_stage1
from pipeline.ingest import open_source
from pipeline.settings import load
from pipeline.types import EventType, View

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return share_converted(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def model(data_dir):
    loaded = create("", load(data_dir=data_dir, model_threads=1)).load()
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def eyes(data_dir):
    cache = data_dir / "models"
    return Eyes(VisionEncoder(cache, 1), SceneEncoder(cache, 1), ClipEncoder(cache, 1))


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """One frame of a real clip: people, and nothing that moves."""
    capture = cv2.VideoCapture(str(CLIPS / "three-people-pause.mp4"))
    capture.set(cv2.CAP_PROP_POS_FRAMES, 40)
    path = tmp_path_factory.mktemp("still") / "people.png"
    assert cv2.imwrite(str(path), capture.read()[1])
    return path


def candidates_of(path, data_dir):
    settings = load(data_dir=data_dir, detect_threads=1)
    store = MemoryStore()
    with closing(open_source(str(path), fps=settings.detect_fps)) as source:
        return list(build_stage1(settings, store).run(source, camera=path.name)), store


@pytest.mark.parametrize(
    ("name", "event_type", "view"),
    [
        ("fall-in-office-1.mp4", EventType.FALL, View.MOTION),
        ("three-people-pause.mp4", EventType.VIOLENCE, View.CLIP),
        ("doll-house-fire.mp4", EventType.FIRE, View.MOTION),
        (None, EventType.VIOLENCE, View.REGION),
    ],
)
def test_one_alarm_gets_one_number_both_ways(name, event_type, view, model, eyes, data_dir, still):
    found, store = candidates_of(CLIPS / name if name else still, data_dir)
    assert any(one.event_type is event_type and view in {f.view for f in one.key_frames} for one in found)
    for candidate in found:
        looked = looked_at(candidate.key_frames, candidate.event_type, candidate.evidence)
        trained_on = replace(candidate, key_frames=tuple(candidate.key_frames[place] for place in looked))
        features = features_of(trained_on, store, eyes)
        expected, _ = DecisionHead().log_odds(
            candidate.event_type, features, trained_on.key_frames, candidate.evidence
        )
        images = tuple(store.get(frame.sha256) for frame in candidate.key_frames)
        inquiry = Inquiry(
            messages=(),
            narrative_messages=(),
            event_type=candidate.event_type,
            evidence=candidate.evidence,
            key_frames=candidate.key_frames,
            images=images,
            prompt=model.parts().joint.manifest.prompt,
        )
        (score,) = model.score([inquiry])
        assert score.log_odds == pytest.approx(expected, abs=0.02), candidate.event_type
    if name is None:
        assert all(frame.view is not View.MOTION for one in found for frame in one.key_frames)
