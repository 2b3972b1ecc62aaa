"""Prompt packs: versioned prompt files and their loader."""
