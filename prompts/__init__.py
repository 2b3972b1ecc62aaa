"""Prompt packs: versioned templates, their loader, and the tools that tune and release them."""

from prompts.loader import Choice, PromptLibrary, load_pack
from prompts.pack import PromptOverrides, PromptPack, RenderedPrompt, question_text

__all__ = [
    "Choice",
    "PromptLibrary",
    "PromptOverrides",
    "PromptPack",
    "RenderedPrompt",
    "load_pack",
    "question_text",
]
