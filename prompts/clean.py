"""Makes untrusted text harmless before it enters a prompt.

Camera names, zone names, detector labels and site text are typed by people or come from other systems.
They are data: after cleaning they cannot open a template placeholder, end a chat turn or start a new line.
"""

from __future__ import annotations

import json
import re
import unicodedata

# Chat-template control tokens of the model families Sitrep talks to: <|im_start|>, <end_of_utterance>,
# <image>, <s>, [INST], <<SYS>>. Whole tokens go; the single characters that could rebuild one go after.
_CONTROL_TOKEN = re.compile(
    r"<\|[^<>|]{0,40}\|>|</?[A-Za-z_][\w:-]{0,40}/?>|\[/?INST\]|<</?SYS>>", re.IGNORECASE
)
_TEMPLATE_CHARACTERS = str.maketrans("", "", "<>{}|`\\")


def clean(text: str, limit: int) -> str:
    """One line of plain text, at most ``limit`` characters, without template or chat control characters.

    Removal repeats until nothing changes, so that ``<|im_<|im_end|>end|>`` does not become a token.
    """
    text = unicodedata.normalize("NFKC", text[: 8 * limit])
    while (shorter := _CONTROL_TOKEN.sub(" ", text)) != text:
        text = shorter
    text = text.translate(_TEMPLATE_CHARACTERS)
    text = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def quoted(text: str, limit: int) -> str:
    """The cleaned text as a JSON string, so that its end is visible to the model."""
    return json.dumps(clean(text, limit).replace('"', "'").rstrip("."), ensure_ascii=False)


def word(text: str, limit: int = 24) -> str:
    """A detector label: letters, digits, space, ``_``, ``-``, ``.``; ``object`` when nothing is left."""
    kept = re.sub(r"[^\w .-]", "", clean(text, limit))
    return kept.strip(" .-_") or "object"
