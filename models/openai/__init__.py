"""Vision-language models behind an OpenAI-compatible HTTP server."""
