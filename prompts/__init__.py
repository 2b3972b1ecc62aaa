"""Prompt packs: versioned templates, their loader, and the tools that tune and release them."""

from prompts.library import Choice, PromptLibrary, load_pack
from prompts.loader import PromptOverrides, PromptPack, RenderedPrompt, question_text

__all__ = [
    "Choice",
    "PromptLibrary",
    "PromptOverrides",
    "PromptPack",
    "RenderedPrompt",
    "load_pack",
    "question_text",
]
