"""The embedded model whole, on its real weights: verdicts, reports, caching, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.command import share_converted

from models.base import Inquiry, Score
from models.embedded import connector as connector_module
from models.embedded import model as model_module
from models.embedded.connector import MANIFEST, WEIGHTS, chosen_views, read_joint
from models.embedded.features import FeatureCache
from models.embedded.heads import HEADS_FILE, DecisionHead
from models.embedded.model import EmbeddedChatModel, create
from models.embedded.vision import WEIGHTS_DIR, VisionEncoder
from models.registry import create as create_any
from pipeline.errors import ConfigError, ModelMissing, ReplyError
from pipeline.reason.parse import parse_report
from pipeline.settings import load
from pipeline.types import (
    Candidate,
    EventType,
    Evidence,
    KeyFrame,
    Moment,
    TriggerScore,
    View,
)
from prompts import load_pack

pytestmark = pytest.mark.slow


def jpeg(seed):
    noise = np.random.default_rng(seed).integers(0, 255, (180, 240, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", cv2.GaussianBlur(noise, (0, 0), 6))[1].tobytes()


def inquiry(event=EventType.VIOLENCE, seeds=(1, 2), site="", language="en", facts=None, prompt=""):
    pack = load_pack("incident@1.0.0")
    images = tuple(jpeg(seed) for seed in seeds)
    views = (View.FULL, View.REGION, View.MOTION)
    frames = tuple(
        KeyFrame(hashlib.sha256(image).hexdigest(), views[index % 3], Moment.PEAK, 1.0, 240, 180)
        for index, image in enumerate(images)
    )
    evidence = Evidence(counts={"person": 2}, facts=facts or {"motion_area": 0.052, "limb_speed": 1.8})
    candidate = Candidate(
        "c", "camera", "clip", event, 0.0, 4.2, TriggerScore("t", 0.5), evidence, frames, zone="gate 1"
    )
    text = pack.render(candidate, language=language, site_context=site, images=images)
    return Inquiry(
        messages=text.messages,
        narrative_messages=text.narrative_messages,
        event_type=event,
        evidence=evidence,
        key_frames=frames,
        images=images,
        site_context=text.site_context,
        language=language,
        duration_s=4.2,
        zone="gate 1",
        options=text.options,
        prompt=prompt,
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    settings = load(data_dir=share_converted(tmp_path_factory.mktemp("data")), model_threads=1)
    loaded = create("", settings).load()
    yield loaded
    loaded.close()


def test_a_batch_scores_as_its_rows_do_alone(model):
    inquiries = [
        inquiry(EventType.FIRE, (1,)),
        inquiry(EventType.FALL, (2, 3), site="car park of a shopping centre"),
        inquiry(EventType.VIOLENCE, (4, 5, 6)),
    ]
    together = model.score(inquiries)
    for one, score in zip(inquiries, together, strict=True):
        (alone,) = model.score([one])
        assert np.isfinite(score.log_odds)
        # int8 activations round a little differently in another batch.
        assert abs(alone.log_odds - score.log_odds) < 0.7
        assert alone.attributes == pytest.approx(score.attributes, abs=1e-4)
        assert score.elapsed_ms > 0


def test_the_same_question_gives_the_same_score(model):
    one = inquiry(EventType.FALL, (7, 8))
    assert model.score([one])[0].log_odds == model.score([one])[0].log_odds


def test_a_site_that_expects_fights_speaks_against_the_alarm(model):
    plain = inquiry(EventType.VIOLENCE, (4, 5, 6))
    quiet = inquiry(EventType.VIOLENCE, (4, 5, 6), site="pharmacy on the corner, open until eight")
    staged = inquiry(EventType.VIOLENCE, (4, 5, 6), site="this is a film set, simulated fights are expected")
    scores = [score.log_odds for score in model.score([plain, quiet, staged])]
    assert scores[2] < scores[0] - 2
    assert scores[2] < scores[1]


@pytest.mark.parametrize("event", list(EventType))
@pytest.mark.parametrize("log_odds", [3.0, 0.0, -3.0])
def test_reports_can_be_read_in_both_languages_and_state_the_same_numbers(model, event, log_odds):
    score = Score(log_odds, {"fire": 0.9, "person": 0.8, "fight": 0.7})
    english = parse_report(model.narrate(inquiry(event), score), "en")
    korean = parse_report(model.narrate(inquiry(event, language="ko"), score), "ko")
    assert re.search("[가-힣]", korean.narrative)
    assert not re.search("[가-힣]", english.narrative)
    for one, other in ((english.summary, korean.summary), (english.reason, korean.reason)):
        assert sorted(re.findall(r"\d+(?:\.\d+)?", one)) == sorted(re.findall(r"\d+(?:\.\d+)?", other))
    assert english.narrative.endswith(".")
    assert "as an AI" not in english.narrative


def test_a_report_does_not_depend_on_what_is_remembered(model):
    one = inquiry(EventType.FALL, (11, 12))
    (score,) = model.score([one])
    remembered = model.narrate(one, score)
    model._memories.clear()
    assert model.narrate(one, score) == remembered


def test_frames_are_looked_at_once(model, monkeypatch):
    one = inquiry(EventType.FIRE, (21, 22))
    model.score([one])
    parts = model.parts()

    def never(*_):
        raise AssertionError("looked again")

    monkeypatch.setattr(parts.features.encoder, "encode", never)
    model.score([inquiry(EventType.SMOKE, (21, 22), site="another question")])


def test_plain_chat_answers_in_words(model):
    answer = model.invoke("Say hello.", max_tokens=8).content
    assert isinstance(answer, str) and answer.strip()


def test_frames_that_cannot_be_judged_are_refused(model):
    good = inquiry(EventType.FIRE, (1,))
    import dataclasses

    broken = b"no image"
    frame = dataclasses.replace(good.key_frames[0], sha256=hashlib.sha256(broken).hexdigest())
    with pytest.raises(ReplyError, match="not a readable image"):
        model.score([dataclasses.replace(good, images=(broken,), key_frames=(frame,))])
    with pytest.raises(ReplyError, match="1 key frames"):
        model.score([dataclasses.replace(good, images=())])
    with pytest.raises(ReplyError, match="without key frames"):
        model.score([dataclasses.replace(good, images=(), key_frames=())])
    assert model.score([]) == []


def test_features_on_disk_equal_those_in_memory_and_damage_is_mended(tmp_path):
    encoder = VisionEncoder(tmp_path / "models", 1)
    image, sha = jpeg(31), hashlib.sha256(jpeg(31)).hexdigest()
    first = FeatureCache(encoder, tmp_path / "features").features([sha], [View.FULL], [image])
    again = FeatureCache(encoder, tmp_path / "features").features([sha], [View.FULL], [image])
    np.testing.assert_array_equal(first.tokens, again.tokens)
    np.testing.assert_array_equal(first.logits, again.logits)
    (stored,) = (tmp_path / "features").glob("**/*.npz")
    stored.write_bytes(b"torn")
    mended = FeatureCache(encoder, tmp_path / "features").features([sha], [View.FULL], [image])
    np.testing.assert_array_equal(first.tokens, mended.tokens)


def test_the_tower_sees_one_view_of_each_kind_and_prefers_the_peak():
    def frame(view, moment):
        return KeyFrame("0" * 64, view, moment, 0.0, 10, 10)

    frames = [
        frame(View.FULL, Moment.BEFORE),
        frame(View.FULL, Moment.PEAK),
        frame(View.MOTION, Moment.PEAK),
        frame(View.REGION, Moment.AFTER),
    ]
    assert chosen_views(frames) == [1, 3, 2]


def test_a_model_that_was_closed_loads_again(tmp_path):
    settings = load(data_dir=share_converted(tmp_path), model_threads=1)
    fresh = create_any("embedded", settings)
    assert isinstance(fresh, EmbeddedChatModel)
    assert fresh.model_id.startswith("embedded:sitrep-vlm@vision-")
    before = fresh.score([inquiry(EventType.FIRE, (1,))])[0].log_odds
    fresh.close()
    assert fresh.score([inquiry(EventType.FIRE, (1,))])[0].log_odds == before


def test_a_name_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="takes no name"):
        create("large", load(data_dir=tmp_path))


def test_damaged_weights_are_refused(tmp_path):
    for name in (WEIGHTS.name, MANIFEST):
        shutil.copy(WEIGHTS.with_name(name), tmp_path / name)
    with (tmp_path / WEIGHTS.name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelMissing, match="damaged"):
        read_joint(tmp_path / WEIGHTS.name)
    (tmp_path / MANIFEST).write_text(json.dumps({"sha256": "0"}))
    with pytest.raises(ModelMissing):
        read_joint(tmp_path / WEIGHTS.name)
    with pytest.raises(ModelMissing, match="cannot be read"):
        read_joint(tmp_path / "absent" / connector_module.WEIGHTS.name)


def test_words_that_can_add_nothing_are_not_read(model, monkeypatch):
    """Given the prompt the tower was trained on and no site, then the same verdict, and no tower."""
    asked = inquiry(seeds=(1, 2, 3), prompt="incident@1.0.0")
    with_words = model.score([replace(asked, prompt="")])[0]
    told = inquiry(seeds=(1, 2, 3), site="a pharmacy, open until eight", prompt="incident@1.0.0")
    assert (
        model.reads_words(told)
        and model.reads_words(replace(asked, prompt=""))
        and not model.reads_words(asked)
    )
    reads = []
    tower = model.parts().tower
    prefill = tower.prefill
    monkeypatch.setattr(tower, "prefill", lambda asked, few: reads.append(len(asked)) or prefill(asked, few))
    without = model.score([asked])[0]
    assert without.log_odds == with_words.log_odds and without.attributes == with_words.attributes
    assert reads == []
    mixed = model.score([asked, told])
    assert reads == [1] and mixed[0].log_odds == without.log_odds
    assert model.narrate(asked, without) == model.narrate(replace(asked, prompt=""), with_words)


def test_a_verdict_looks_at_the_peak_only(model):
    """Given moments before and after, when they show something else, then the score stays the same."""
    one = inquiry(seeds=(1, 2, 3))
    other = inquiry(seeds=(7, 8, 9))
    around = tuple(replace(frame, moment=Moment.AFTER, t_s=4.0) for frame in other.key_frames)
    both = replace(one, key_frames=one.key_frames + around, images=one.images + other.images)
    assert model.score([both])[0].log_odds == pytest.approx(model.score([one])[0].log_odds, abs=1e-6)
    nothing_but_after = replace(one, key_frames=around, images=other.images)
    assert model.shown(nothing_but_after).key_frames == around


def test_what_flickers_is_looked_for_at_every_moment(model):
    """Given a fire whose named moment shows none, then the stills of other moments count too."""
    one, other = inquiry(EventType.FIRE, seeds=(1, 2, 3)), inquiry(EventType.FIRE, seeds=(7, 8, 9))
    around = tuple(replace(frame, moment=Moment.AFTER, t_s=4.0) for frame in other.key_frames)
    both = replace(one, key_frames=one.key_frames + around, images=one.images + other.images)
    shown = model.shown(both).key_frames
    assert [(frame.moment, frame.view) for frame in shown[3:]] == [
        (Moment.AFTER, View.FULL),
        (Moment.AFTER, View.REGION),
    ]
    # These pictures look so little like fire that the score is at its bound either way.
    seen = [model.score([asked])[0].attributes["fire"] for asked in (both, one)]
    assert seen[0] != seen[1]


def test_the_moment_another_detector_named_is_not_all_that_is_looked_at(model):
    """Given a fall that another detector reported, then the stills of all moments count."""
    own = inquiry(EventType.FALL, seeds=(1, 2, 3))
    after = tuple(replace(frame, moment=Moment.AFTER, t_s=4.0) for frame in own.key_frames)
    own = replace(own, key_frames=own.key_frames + after, images=own.images * 2)
    told = replace(own, evidence=replace(own.evidence, facts={**own.evidence.facts, "reported": True}))
    assert len(model.shown(own).key_frames) == 3
    assert [frame.view for frame in model.shown(told).key_frames[3:]] == [View.FULL, View.REGION]


@pytest.mark.parametrize("part", ["vision", "scene", "clip"])
def test_heads_of_other_networks_are_refused(part, tmp_path, monkeypatch):
    """Given heads fitted on features of another network or rounding, then no verdict is made with them."""
    head = DecisionHead()
    head.made_for = replace(head.made_for, **{part: "another-network"})
    monkeypatch.setattr(model_module, "DecisionHead", lambda: head)
    with pytest.raises(ModelMissing, match="features of another-network, here"):
        create("", load(data_dir=share_converted(tmp_path), model_threads=1)).load()


def test_heads_that_are_half_fitted_say_what_is_to_be_done(tmp_path):
    """Given heads of which only the first step of training has run, then it says which steps are next."""
    stored = json.loads((WEIGHTS_DIR / HEADS_FILE).read_text())
    del stored["made_for"]["clip"]
    (tmp_path / HEADS_FILE).write_text(json.dumps(stored))
    with pytest.raises(ModelMissing, match=r"fitted only in part.*lacks clip"):
        DecisionHead(tmp_path)
