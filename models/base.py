"""The one seam for vision-language models: a LangChain chat model that can also score.

A back end subclasses :class:`SitrepChatModel`. ``score`` reads a probability from the model (yes/no
log-odds of one forward pass); ``narrate`` asks for the words. The word the model writes never decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage

from pipeline.types import Action, EventType, Evidence, KeyFrame, VerdictState


@dataclass(frozen=True, slots=True)
class Inquiry:
    """One question about one candidate, rendered and ready for a model.

    Attributes:
        messages: The rendered chat prompt that ends in the yes/no question. Image blocks are LangChain's
            ``{"type": "image", "base64": ..., "mime_type": ...}`` in the order of ``key_frames``.
        narrative_messages: The rendered chat prompt that asks for the report.
        event_type: What the trigger suspects.
        evidence: The detectors' measurements; a model that reads them as text only may ignore this.
        key_frames: What the image blocks show; ``sha256`` is the key for caching visual features.
        images: The encoded files, in the same order.
        site_context: What the site says about itself, as rendered into the prompt ("" when nothing).
        language: Language of the narrative, "en" or "ko".
        duration_s: Length of the event.
        zone: Name of the zone, if any.
        options: Model options of the prompt pack.
        prompt: Reference of the prompt pack ("incident@1.0.0") where it was rendered just as it was released;
            "" where an override changed it.
    """

    messages: Sequence[BaseMessage]
    narrative_messages: Sequence[BaseMessage]
    event_type: EventType
    evidence: Evidence
    key_frames: tuple[KeyFrame, ...]
    images: tuple[bytes, ...]
    site_context: str = ""
    language: str = "en"
    duration_s: float = 0.0
    zone: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """What a model's forward pass says about one inquiry.

    Attributes:
        log_odds: log p(yes) - log p(no), uncalibrated, finite.
        attributes: What the model itself sees, as probabilities by name (``fire``, ``smoke``, ``fight``,
            ``person_down``, ``crash``, ``crowd``, ...); empty when the model has no such reading.
        category: Event type it finds most likely, or ``None``.
        elapsed_ms: Time of the forward pass, shared evenly over a batch.
        seen_log_odds: The same by what the images and measurements say alone, before words of the prompt
            moved it; ``None`` when the model cannot tell them apart.
        probability: What calibration makes of the log-odds, 0..1; the reasoner adds it before it asks for
            words, which must agree with it. ``None`` until then.
        state: What the thresholds make of that; as above.
        action: What is decided for it, so that what a report advises agrees with who is called; as above.
    """

    log_odds: float
    attributes: Mapping[str, float] = field(default_factory=dict)
    category: str | None = None
    elapsed_ms: float = 0.0
    seen_log_odds: float | None = None
    probability: float | None = None
    state: VerdictState | None = None
    action: Action | None = None


class SitrepChatModel(BaseChatModel):
    """A chat model with images in, and a score beside the words.

    Attributes:
        model_id: Stored with every verdict: back end, name and revision or weights hash.
    """

    model_id: str = "unknown"

    def score(self, inquiries: Sequence[Inquiry]) -> list[Score]:
        """One score an inquiry, in order, batched where the back end can.

        Raises:
            ModelTimeout, ModelUnavailable: Try again later.
            ReplyError: The model gave no readable probability (for instance NaN).
        """
        raise NotImplementedError

    def narrate(self, inquiry: Inquiry, score: Score) -> str:
        """The report as JSON text (fields of ``pipeline.types.Narrative``).

        Raises:
            ModelTimeout, ModelUnavailable: Try again later.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Release memory and connections."""
