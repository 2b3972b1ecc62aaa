from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import tiny_checkpoints as tiny

from models import registry
from models.base import Inquiry, Score
from models.hf.skeleton import Alphabet, Skeleton
from pipeline.errors import ModelMissing, ModelTimeout
from pipeline.reason.builtin import builtin_inquiry
from pipeline.settings import Settings

FIELDS = ["observations", "title", "summary", "narrative", "reason", "recommended_action"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    tiny.save_smolvlm(folder / "smolvlm1")
    tiny.save_smolvlm(folder / "smolvlm2", model_type="smolvlm")
    tiny.save_qwen2_vl(folder / "qwen2vl")
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, model_threads=1)


@pytest.fixture
def inquiry(settings: Settings) -> Inquiry:
    return builtin_inquiry(settings)


def with_question(inquiry: Inquiry, text: str) -> Inquiry:
    system, user = inquiry.messages
    content = [*user.content[:-1], {"type": "text", "text": text}]
    return dataclasses.replace(inquiry, messages=(system, user.model_copy(update={"content": content})))


def with_image(inquiry: Inquiry, encoded: bytes) -> Inquiry:
    import base64

    system, user = inquiry.messages
    content = [dict(block) for block in user.content]
    for block in content:
        if block["type"] == "image":
            block["base64"] = base64.b64encode(encoded).decode()
    return dataclasses.replace(inquiry, messages=(system, user.model_copy(update={"content": content})))


@pytest.mark.parametrize("name", ["smolvlm1", "smolvlm2", "qwen2vl"])
def test_score_depends_on_text_and_image_and_not_on_the_batch(
    checkpoints: Path, settings: Settings, inquiry: Inquiry, name: str
) -> None:
    import cv2
    import numpy as np

    model = registry.create(f"transformers:{checkpoints / name}", settings)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    other = with_image(inquiry, cv2.imencode(".png", noise)[1].tobytes())
    shorter = with_question(inquiry, "Fire? Yes or no?")
    alone = [model.score([item])[0].log_odds for item in (inquiry, other, shorter)]
    assert len({round(value, 5) for value in alone}) == 3
    together = [score.log_odds for score in model.score([inquiry, other, shorter])]
    assert together == pytest.approx(alone, abs=1e-4)
    again = registry.create(f"transformers:{checkpoints / name}", settings).score([inquiry])[0]
    assert again.log_odds == pytest.approx(alone[0], abs=1e-6)


def test_narrative_is_whole_json_whatever_the_weights(
    checkpoints: Path, settings: Settings, inquiry: Inquiry
) -> None:
    model = registry.create(f"transformers:{checkpoints / 'qwen2vl'}", settings)
    report = json.loads(model.narrate(inquiry, Score(0.0)))
    assert list(report) == FIELDS
    assert all(report[name] for name in FIELDS)
    assert len(report["observations"]) == 2


def test_skeleton_survives_hostile_scores() -> None:
    import torch

    fast = tiny.tokenizer(tiny.SMOLVLM_TOKENS, tiny.SMOLVLM_TEMPLATE)
    alphabet = Alphabet.of(fast, len(fast))
    for scores in (
        torch.full((1, len(fast)), float("nan")),
        torch.nn.functional.one_hot(torch.tensor([fast.eos_token_id]), len(fast)).float() * 99,
        torch.nn.functional.one_hot(torch.tensor([alphabet.quote]), len(fast)).float() * 99,
        torch.nn.functional.one_hot(torch.tensor(fast.encode("\n")), len(fast)).float() * 99,
    ):
        skeleton = Skeleton(fast, alphabet, 1)
        ids = torch.tensor([[fast.bos_token_id]])
        while not skeleton.is_whole(ids):
            step = skeleton(ids, scores.clone()).nan_to_num(nan=-1e9).argmax(-1, keepdim=True)
            ids = torch.cat([ids, step], dim=1)
            assert ids.shape[1] < 3000
        assert list(json.loads(skeleton.report())) == FIELDS
        json.loads(fast.decode(ids[0, 1:], clean_up_tokenization_spaces=False))


def test_too_slow_is_a_timeout(checkpoints: Path, tmp_path: Path, inquiry: Inquiry) -> None:
    settings = Settings(data_dir=tmp_path, model_timeout_s=0.01)
    model = registry.create(f"transformers:{checkpoints / 'qwen2vl'}", settings)
    with pytest.raises(ModelTimeout, match="no whole report"):
        model.narrate(inquiry, Score(0.0))


def test_model_id_changes_with_the_weights(checkpoints: Path, settings: Settings, tmp_path: Path) -> None:
    first = registry.create(f"transformers:{checkpoints / 'smolvlm1'}", settings).model_id
    copy = tmp_path / "smolvlm1"
    copy.mkdir()
    for path in (checkpoints / "smolvlm1").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert registry.create(f"transformers:{copy}", settings).model_id == first
    weights = next(copy.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    assert registry.create(f"transformers:{copy}", settings).model_id != first


@pytest.mark.parametrize("broken", ["missing", "empty", "no weights", "torn weights", "not a vlm"])
def test_a_bad_folder_is_one_line(
    checkpoints: Path, settings: Settings, tmp_path: Path, inquiry: Inquiry, broken: str
) -> None:
    folder = tmp_path / "model"
    if broken != "missing":
        folder.mkdir()
    if broken in {"no weights", "torn weights", "not a vlm"}:
        for path in (checkpoints / "smolvlm1").iterdir():
            if broken != "no weights" or path.suffix != ".safetensors":
                (folder / path.name).write_bytes(path.read_bytes())
    if broken == "torn weights":
        weights = next(folder.glob("*.safetensors"))
        weights.write_bytes(weights.read_bytes()[:5000])
    if broken == "not a vlm":
        (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelMissing) as caught:
        registry.create(f"transformers:{folder}", settings).score([inquiry])
    assert "\n" not in caught.value.one_line()


def test_plain_chat_takes_images(checkpoints: Path, settings: Settings, inquiry: Inquiry) -> None:
    model = registry.create(f"transformers:{checkpoints / 'qwen2vl'}", settings)
    reply = model.invoke(list(inquiry.messages), max_tokens=5)
    assert isinstance(reply.content, str)


def test_a_hub_that_does_not_answer_fails_fast(
    settings: Settings, inquiry: Inquiry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelMissing, match="hub cannot be reached"):
        registry.create("transformers:Nobody/no-such-model", settings).score([inquiry])
