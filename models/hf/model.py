"""``transformers:FOLDER_OR_ID``: any image-text-to-text model of the transformers library.

The score is one forward pass: log p(yes) - log p(no) of the next token, each summed over the ways a tokenizer
may write the word. Nothing is sampled anywhere, so the same input gives the same verdict.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from models.base import Inquiry, Score, SitrepChatModel
from models.hf import loading
from pipeline.errors import ModelError, ModelTimeout, ReplyError
from pipeline.settings import Settings

_YES = ("yes", "Yes", "YES", " yes", " Yes", " YES")
_NO = ("no", "No", "NO", " no", " No", " NO")
_BATCH = 4
_LONGEST_SIDE = 1024
_REPLY_TOKENS = 256


class HfChatModel(SitrepChatModel):
    """A local vision-language model. Weights are loaded on first use.

    Attributes:
        name_or_folder: Hub id or folder.
        threads: CPU threads; 0: torch's choice.
        timeout_s: Longest time for one narrative.
    """

    name_or_folder: str
    threads: int = 0
    timeout_s: float = 60.0
    _loaded: loading.Loaded | None = PrivateAttr(default=None)
    _alphabet: Any = PrivateAttr(default=None)
    _answers: tuple[list[int], list[int]] | None = PrivateAttr(default=None)

    @property
    def _llm_type(self) -> str:
        return "sitrep-transformers"

    def score(self, inquiries: Sequence[Inquiry]) -> list[Score]:
        """One forward pass for up to four inquiries with equally many images; see the module."""
        scores: list[Score | None] = [None] * len(inquiries)
        by_images: dict[int, list[int]] = {}
        for index, inquiry in enumerate(inquiries):
            by_images.setdefault(len(_images(inquiry.messages)), []).append(index)
        for group in by_images.values():
            for start in range(0, len(group), _BATCH):
                chunk = group[start : start + _BATCH]
                for index, score in zip(chunk, self._score([inquiries[i] for i in chunk]), strict=True):
                    scores[index] = score
        return [score for score in scores if score is not None]

    def narrate(self, inquiry: Inquiry, score: Score) -> str:
        """A report by constrained decoding; always valid JSON."""
        from models.hf.skeleton import Alphabet, Skeleton

        ready = self._ready()
        inputs = self._inputs([inquiry.narrative_messages])
        if self._alphabet is None:
            width = ready.model.get_output_embeddings().weight.shape[0]
            self._alphabet = Alphabet.of(ready.tokenizer, width)
        skeleton = Skeleton(ready.tokenizer, self._alphabet, inputs["input_ids"].shape[1])
        self._generate_ids(inputs, Skeleton.budget(), skeleton)
        if not skeleton.finished:
            raise ModelTimeout(
                f"{self.model_id} wrote no whole report in {self.timeout_s:.0f} s",
                hint="raise SITREP_MODEL_TIMEOUT_S or choose a smaller model",
            )
        return skeleton.report()

    def close(self) -> None:
        """Drop the weights."""
        self._loaded = None

    def _ready(self) -> loading.Loaded:
        if self._loaded is None:
            self._loaded = loading.load(self.name_or_folder, self.threads)
        return self._loaded

    def _score(self, inquiries: Sequence[Inquiry]) -> list[Score]:
        import torch

        ready = self._ready()
        started = time.perf_counter()
        inputs = self._inputs([inquiry.messages for inquiry in inquiries])
        with torch.inference_mode():
            logits = ready.model(**inputs, logits_to_keep=1).logits[:, -1].float()
        yes, no = self._answer_tokens()
        odds = (logits[:, yes].logsumexp(-1) - logits[:, no].logsumexp(-1)).tolist()
        if not all(math.isfinite(value) for value in odds):
            raise ReplyError(f"{self.model_id} gave a score that is not a number", raw=str(odds))
        each_ms = (time.perf_counter() - started) * 1e3 / len(inquiries)
        return [Score(value, elapsed_ms=each_ms) for value in odds]

    def _answer_tokens(self) -> tuple[list[int], list[int]]:
        """First tokens of every way to write yes and no; a token that may begin both is left out."""
        if self._answers is None:
            tokenizer = self._ready().tokenizer

            def first(words: Iterable[str]) -> set[int]:
                encoded = (tokenizer.encode(word, add_special_tokens=False) for word in words)
                blank = {tokenizer.unk_token_id, None}
                return {ids[0] for ids in encoded if ids and ids[0] not in blank}

            yes, no = first(_YES), first(_NO)
            if not yes - no or not no - yes:
                raise ModelError(
                    f"the tokenizer of {self.name_or_folder} cannot tell yes from no",
                    hint="use another model",
                )
            self._answers = sorted(yes - no), sorted(no - yes)
        return self._answers

    def _inputs(self, conversations: Sequence[Sequence[BaseMessage]]) -> Any:
        ready = self._ready()
        texts = [
            ready.processor.apply_chat_template(
                [_plain(message) for message in messages], add_generation_prompt=True, tokenize=False
            )
            for messages in conversations
        ]
        images = [_images(messages) for messages in conversations]
        kwargs: dict[str, Any] = {"text": texts, "return_tensors": "pt", "padding": True}
        if any(images):
            kwargs["images"] = images
        return ready.processor(**kwargs).to(ready.device, dtype=ready.model.dtype)

    def _generate_ids(self, inputs: Any, budget: int, processor: Any = None) -> list[int]:
        import torch
        from transformers import LogitsProcessorList, StoppingCriteriaList
        from transformers.generation.stopping_criteria import MaxTimeCriteria

        ready = self._ready()
        with torch.inference_mode():
            ids = ready.model.generate(
                **inputs,
                max_new_tokens=budget,
                do_sample=False,
                repetition_penalty=1.1,
                pad_token_id=ready.tokenizer.pad_token_id,
                logits_processor=LogitsProcessorList([processor] if processor else []),
                stopping_criteria=StoppingCriteriaList(
                    [MaxTimeCriteria(self.timeout_s), *([_Finished(processor)] if processor else [])]
                ),
            )
        tokens: list[int] = ids[0, inputs["input_ids"].shape[1] :].tolist()
        return tokens

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        """Plain chat, for notebooks: images in, text out."""
        tokens = self._generate_ids(self._inputs([messages]), int(kwargs.get("max_tokens", _REPLY_TOKENS)))
        text = str(self._ready().tokenizer.decode(tokens, skip_special_tokens=True))
        for mark in stop or ():
            text = text.split(mark, 1)[0]
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=text.strip()))])


class _Finished:
    """Stops the generation when the report is whole."""

    def __init__(self, skeleton: Any) -> None:
        self._skeleton = skeleton

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        import torch

        done = self._skeleton.is_whole(input_ids)
        return torch.full((input_ids.shape[0],), done, dtype=torch.bool, device=input_ids.device)


def create(name: str, settings: Settings) -> HfChatModel:
    """The model in a folder or on the hub.

    Raises:
        ModelMissing: The folder holds no model.
    """
    loading.check_name(name)
    mark = loading.fingerprint(name)
    shown = Path(name).expanduser().name if mark else name
    return HfChatModel(
        model_id=f"transformers:{shown}@{mark}" if mark else f"transformers:{shown}",
        name_or_folder=name,
        threads=settings.model_threads,
        timeout_s=settings.model_timeout_s,
    )


def _blocks(message: BaseMessage) -> list[Mapping[str, Any]]:
    if isinstance(message.content, str):
        return [{"type": "text", "text": message.content}]
    return [{"type": "text", "text": block} if isinstance(block, str) else block for block in message.content]


def _plain(message: BaseMessage) -> dict[str, Any]:
    """The message as the processors' chat templates want it: images as marks without data."""
    role = {"human": "user", "ai": "assistant"}.get(message.type, message.type)
    content = [
        {"type": "image"} if block.get("type") == "image" else {"type": "text", "text": block["text"]}
        for block in _blocks(message)
    ]
    return {"role": role, "content": content}


def _images(messages: Sequence[BaseMessage]) -> list[Any]:
    import base64

    from PIL import Image, UnidentifiedImageError

    images = []
    for message in messages:
        for block in _blocks(message):
            if block.get("type") != "image":
                continue
            try:
                image = Image.open(io.BytesIO(base64.b64decode(block["base64"]))).convert("RGB")
            except (UnidentifiedImageError, OSError, ValueError) as error:
                raise ReplyError(f"a key frame is not an image: {error}") from error
            image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
            images.append(image)
    return images
