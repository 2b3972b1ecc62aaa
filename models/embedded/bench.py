"""A race of the embedded model against plain torch: same weights, same inputs, in turns."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from models.base import Inquiry, Score
from models.embedded.baseline import TorchBaseline
from models.embedded.decoding import WORDINGS, variations
from models.embedded.model import EmbeddedChatModel
from models.embedded.prompting import spliced, turn, visual_embeddings
from models.embedded.report_facts import gather
from models.embedded.views import at_its_peak
from models.embedded.vision import MANIFEST, WEIGHTS_DIR
from models.embedded.vision_net import NetFile, read_net
from models.embedded.vision_scene import shrunk, tiles
from pipeline.types import Array, Image, View


class Race:
    """Both runners, loaded.

    Args:
        model: The embedded model, loaded.
        threads: CPU threads for torch, 0 for all cores.
    """

    def __init__(self, model: EmbeddedChatModel, threads: int) -> None:
        self._model, self._parts = model, model.parts()
        nets = [*_nets(WEIGHTS_DIR), *_nets(WEIGHTS_DIR / "scene")]
        self._motion, self._scene = len(nets) - 2, len(nets) - 1
        self._torch = TorchBaseline(self._parts.joint, nets, threads)

    def run(self, inquiries: Sequence[Inquiry], tokens: int) -> dict[str, float]:
        """Race over the inquiries.

        Decoding goes token by token, and both read their caches. Ours chooses among the tokens that a report
        on that candidate may have, as reports are written; torch among its whole vocabulary, as its own
        ``generate`` does. ``free`` is ours with the whole vocabulary.

        Returns:
            ``verdict``, ``tokens``, ``free``: medians of torch's time over ours; and what they were made of.
        """
        verdicts, decodes, free, ours_verdict, torch_verdict, ours_rate, torch_rate = ([] for _ in range(7))
        self._torch.decode(self._prompt(inquiries[0]), 2)
        for inquiry in inquiries:
            self._parts.features.forget()
            start = time.perf_counter()
            (score,) = self._model.score([inquiry])
            ours = time.perf_counter() - start
            prompt = self._prompt(inquiry)
            shown = self._model.shown(inquiry)
            start = time.perf_counter()
            self._torch_verdict(shown, prompt if self._model.reads_words(shown) else None)
            theirs = time.perf_counter() - start
            verdicts.append(theirs / ours)
            ours_verdict.append(ours * 1e3)
            torch_verdict.append(theirs * 1e3)
            torch_s = self._torch_decode(prompt, tokens)
            ours_s = self._decode(prompt, tokens, self._words(inquiry, score))
            decodes.append(torch_s / ours_s)
            free.append(torch_s / self._decode(prompt, tokens, None))
            ours_rate.append((tokens - 1) / ours_s)
            torch_rate.append((tokens - 1) / torch_s)
        return {
            "verdict": float(np.median(verdicts)),
            "tokens": float(np.median(decodes)),
            "free": float(np.median(free)),
            "ours_verdict_ms": float(np.median(ours_verdict)),
            "torch_verdict_ms": float(np.median(torch_verdict)),
            "ours_tokens_per_s": float(np.median(ours_rate)),
            "torch_tokens_per_s": float(np.median(torch_rate)),
        }

    def _prompt(self, inquiry: Inquiry) -> Array:
        parts, inquiry = self._parts, at_its_peak(inquiry)
        hashes = [frame.sha256 for frame in inquiry.key_frames]
        views = [frame.view for frame in inquiry.key_frames]
        features = parts.features.features(hashes, views, inquiry.images)
        visual = visual_embeddings(parts.connector, features, inquiry.key_frames)
        return spliced(parts.tower, turn(parts.tower, inquiry.messages), visual)

    def _torch_verdict(self, inquiry: Inquiry, prompt: Array | None) -> None:
        """What our verdict is made of, in torch: the views it looks at, and the prompt if it reads it."""
        stills: list[Image] = []
        moving: list[Image] = []
        scenes: list[Image] = []
        twice = self._parts.head.wants_scene(inquiry.event_type, inquiry.key_frames, inquiry.evidence)
        clips = self._parts.head.wants_clip(inquiry.event_type, inquiry.key_frames)
        for frame, image, again, clip in zip(inquiry.key_frames, inquiry.images, twice, clips, strict=True):
            picture = np.asarray(cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR), np.uint8)
            if again:
                scenes.append(picture)
            if clip:
                self._torch.watch(picture)
            if frame.view is not View.CLIP:
                (moving if frame.view is View.MOTION else stills).append(picture)
        self._torch.see(stills, 0)
        if moving:
            self._torch.see(moving, self._motion)
        objects, contrast = self._parts.head.scene_parts(inquiry.event_type)
        if scenes and objects:
            self._torch.see([tile for picture in scenes for tile in tiles(shrunk(picture))], self._scene)
        if scenes and contrast:
            self._torch.compare([shrunk(picture) for picture in scenes])
        if prompt is not None:
            self._torch.last_logits(prompt)

    def _words(self, inquiry: Inquiry, score: Score) -> list[int]:
        """Tokens that some wording of the report has."""
        wordings = variations(gather(inquiry, score), WORDINGS)
        texts = {text for wording in wordings for text in wording.values()}
        return sorted({token for text in texts for token in self._parts.tower.ids(text)})

    def _decode(self, prompt: Array, tokens: int, words: list[int] | None) -> float:
        """Seconds for all tokens after the first; reading the prompt is left out."""
        tower = self._parts.tower
        logits = tower.prefill([prompt], words)[0]
        start = time.perf_counter()
        for _ in range(tokens - 1):
            chosen = int(logits.argmax())
            logits = tower.extend(tower.embed([words[chosen] if words else chosen]), words)
        return time.perf_counter() - start

    def _torch_decode(self, prompt: Array, tokens: int) -> float:
        start = time.perf_counter()
        self._torch.decode(prompt, 1)
        read = time.perf_counter() - start
        start = time.perf_counter()
        self._torch.decode(prompt, tokens)
        return time.perf_counter() - start - read


def _nets(folder: Path) -> list[NetFile]:
    files = json.loads((folder / MANIFEST).read_text())["files"]
    return [read_net(folder / files[name]["file"]) for name in ("stills", "motion") if name in files]
