"""A deterministic model without weights: what surrounds a model is tested with it, never a model's quality.

``fake`` scores from a hash of the frames; ``fake:OPTION,OPTION=VALUE`` misbehaves on purpose:

    sleep=S        wait S seconds before each score      score=P     always score probability P
    nan            score NaN                             hang        never answer
    garbage, empty, truncated, refusal, long             reply that no report can be read from
    timeout, unavailable                                 raise the retryable error of that name
    segfault, exit, memory                               kill, leave, or swell the process
    every=N        misbehave only on every Nth call      seed=N      another hash
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field, PrivateAttr

from models.base import Inquiry, Score, SitrepChatModel
from pipeline.errors import ConfigError, ModelTimeout, ModelUnavailable
from pipeline.settings import Settings

_REPLIES = {
    "garbage": "%$#@!! not a report {{{",
    "empty": "",
    "truncated": '{"observations": ["a person"], "title": "A person on the gro',
    "refusal": "I'm sorry, but as an AI language model I cannot judge people in images.",
    "long": "word " * 10_000,
}
_FAULTS = frozenset({*_REPLIES, "nan", "hang", "timeout", "unavailable", "segfault", "exit", "memory"})
_NUMBERS = frozenset({"sleep", "score", "every", "seed"})


def parse_options(name: str) -> dict[str, float | None]:
    """``sleep=0.5,garbage`` -> ``{"sleep": 0.5, "garbage": None}``.

    Raises:
        ConfigError: An option is unknown or its value is not a number.
    """
    options: dict[str, float | None] = {}
    for part in filter(None, (piece.strip() for piece in name.split(","))):
        key, _, value = part.partition("=")
        if key in _FAULTS and not value:
            options[key] = None
            continue
        try:
            if key not in _NUMBERS:
                raise ValueError
            options[key] = float(value)
        except ValueError:
            known = ", ".join(sorted(_FAULTS | _NUMBERS))
            raise ConfigError(f"model fake has no option '{part}'", hint=f"it has: {known}") from None
    return options


class FakeChatModel(SitrepChatModel):
    """See the module. ``options`` as :func:`parse_options` gives them."""

    options: dict[str, float | None] = Field(default_factory=dict)
    _calls: int = PrivateAttr(default=0)

    @property
    def _llm_type(self) -> str:
        return "sitrep-fake"

    def score(self, inquiries: Sequence[Inquiry]) -> list[Score]:
        """One log-odds in [-4, 4] an inquiry: the same frames and event type give the same one."""
        started = time.perf_counter()
        time.sleep(self.options.get("sleep") or 0.0)
        self._calls += 1
        due = self._calls % int(self.options.get("every") or 1) == 0
        if due:
            self._misbehave()
        broken = due and "nan" in self.options
        each_ms = (time.perf_counter() - started) * 1e3 / max(1, len(inquiries))
        odds = [math.nan if broken else self._log_odds(inquiry) for inquiry in inquiries]
        return [Score(value, elapsed_ms=each_ms) for value in odds]

    def narrate(self, inquiry: Inquiry, score: Score) -> str:
        """A report that says only what the detectors measured, or the broken reply asked for."""
        for fault, reply in _REPLIES.items():
            if fault in self.options:
                return reply
        return json.dumps(_report(inquiry), ensure_ascii=False)

    def _log_odds(self, inquiry: Inquiry) -> float:
        fixed = self.options.get("score")
        if fixed is not None:
            return math.log(max(fixed, 1e-6) / max(1 - fixed, 1e-6))
        seed = [str(self.options.get("seed")), inquiry.event_type.value]
        key = ":".join(seed + [frame.sha256 for frame in inquiry.key_frames])
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**61 - 4

    def _misbehave(self) -> None:
        if "timeout" in self.options:
            raise ModelTimeout("the fake model was told to time out")
        if "unavailable" in self.options:
            raise ModelUnavailable("the fake model was told to be unavailable")
        if "hang" in self.options:
            threading.Event().wait()
        if "segfault" in self.options:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "exit" in self.options:
            os._exit(3)
        if "memory" in self.options:
            hoard = bytearray()
            while True:
                hoard += b"\x01" * (64 << 20)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content="yes"))])


class NoopChatModel(FakeChatModel):
    """Answers at once with even odds."""

    def score(self, inquiries: Sequence[Inquiry]) -> list[Score]:
        """Log-odds 0 for everything."""
        return [Score(0.0) for _ in inquiries]


def create(name: str, settings: Settings) -> FakeChatModel:
    """The fake model with the options in ``name``."""
    return FakeChatModel(model_id=f"fake:{name}" if name else "fake", options=parse_options(name))


def create_noop(name: str, settings: Settings) -> NoopChatModel:
    """The model that answers at once; takes no options."""
    return NoopChatModel(model_id="noop")


def _report(inquiry: Inquiry) -> dict[str, Any]:
    event = inquiry.event_type.value.replace("_", " ")
    seconds = f"{inquiry.duration_s:.1f}"
    if inquiry.language == "ko":
        return {
            "observations": ["탐지기의 측정값만 사용했습니다."],
            "title": f"경보: {event}",
            "summary": f"{event} 경보가 {seconds}초 동안 발생했습니다.",
            "narrative": f"{event} 경보가 {seconds}초 동안 발생했습니다. 화면은 판독하지 않았습니다.",
            "reason": "시험용 모델은 화면을 보지 않습니다.",
            "recommended_action": "화면을 확인하십시오.",
        }
    return {
        "observations": ["Only the detector's measurements were used."],
        "title": f"Alarm: {event}",
        "summary": f"A {event} alarm lasted {seconds} s.",
        "narrative": f"A {event} alarm lasted {seconds} s. The images were not looked at.",
        "reason": "The test model does not look at images.",
        "recommended_action": "Look at the frames.",
    }
