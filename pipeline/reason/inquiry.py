"""Turns a candidate into the question a model is asked."""

from __future__ import annotations

from models.base import Inquiry
from pipeline.errors import FrameStoreError
from pipeline.interfaces import FrameStore
from pipeline.settings import Settings
from pipeline.types import Candidate
from prompts.pack import PromptOverrides, PromptPack, RenderedPrompt


def build_inquiry(
    candidate: Candidate,
    pack: PromptPack,
    frame_store: FrameStore,
    settings: Settings,
    *,
    overrides: PromptOverrides | None = None,
    language: str | None = None,
) -> tuple[Inquiry, RenderedPrompt]:
    """Read the key frames, render the prompt, and say what it was made of.

    Raises:
        FrameStoreError: A key frame is missing or damaged, or there is none: nobody can judge unseen.
        PromptError: The pack cannot be rendered for this candidate.
    """
    if not candidate.key_frames:
        raise FrameStoreError(
            "the candidate has no picture", hint="look at the camera; its detector sent no picture that works"
        )
    images = tuple(frame_store.get(frame.sha256) for frame in candidate.key_frames)
    language = language or settings.language
    rendered = pack.render(
        candidate,
        language=language,
        site_context=settings.site_context,
        overrides=overrides,
        images=images,
    )
    inquiry = Inquiry(
        messages=rendered.messages,
        narrative_messages=rendered.narrative_messages,
        event_type=candidate.event_type,
        evidence=candidate.evidence,
        key_frames=candidate.key_frames,
        images=images,
        site_context=rendered.site_context,
        language=language,
        duration_s=max(0.0, candidate.end_s - candidate.start_s),
        zone=candidate.zone,
        options=rendered.options,
        prompt="" if overrides is not None and overrides.sources else pack.ref,
    )
    return inquiry, rendered
