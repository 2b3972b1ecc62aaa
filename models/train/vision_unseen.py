"""What is said of an alarm by what has not seen it: opinions that training steps leave for later ones.

Evidence models, second opinions, probes of clip views and of weapons are each fitted several times, without a
part of the scenes; what those say of that part is stored by picture or clip. With it an alarm of train or
val can be weighed and calibrated like one that is new (cross-fitting: van der Laan, Polley and Hubbard,
"Super Learner", 2007).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from models.embedded.vision import VisionFeatures
from models.train import data
from models.train.mined_candidates import Item
from pipeline.types import Candidate, EventType

EVIDENCE, SECOND, CLIPS, ARMED = "evidence-odds.json", "second-odds.json", "clip-odds.json", "armed-odds.json"
Line = tuple[np.ndarray, float]


@dataclass(frozen=True, slots=True)
class Unseen:
    """Opinions of what has not seen an alarm; empty ones are left to what ships.

    Attributes:
        evidence: By type and picture, what the evidence says (``vision_heads``).
        second: By type, second opinions (``vision_second``): on ``pictures`` by name, and the ``train`` line
            for what is not among them.
        armed: Opinions on weapons (``vision_weapons``), in the same form.
        probes: By clip, the probe of clip views that has not seen it (``vision_clip``).
    """

    evidence: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    second: Mapping[str, Any] = field(default_factory=dict)
    armed: Mapping[str, Any] | None = None
    probes: Mapping[str, Line] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Unseen:
        """Everything that steps have stored so far.

        Raises:
            SystemExit: ``vision_heads`` has not run: without its evidence alarms of train are flattered.
        """
        folder = data.WORK
        if not (folder / EVIDENCE).is_file():
            raise SystemExit(f"{folder / EVIDENCE} is not there: run python -m models.train.vision_heads")
        clips = _stored(folder / CLIPS) or {"probes": []}
        probes = {
            name: (np.array(probe["weights"]), float(probe["bias"]))
            for probe in clips["probes"]
            for name in probe["clips"]
        }
        return cls(
            _stored(folder / EVIDENCE) or {}, _stored(folder / SECOND) or {}, _stored(folder / ARMED), probes
        )

    def of(self, item: Item, candidate: Candidate, features: VisionFeatures) -> dict[str, float | None]:
        """Terms of an alarm that are known already, as ``DecisionHead.testify`` takes them."""
        name = candidate.event_type.value
        return {
            "scene_odds": _opinion(self.second.get(name), item.name, features),
            "clip_odds": self.of_clip(item, candidate, features),
            "evidence_odds": self.evidence.get(name, {}).get(item.name),
            "also_odds": _opinion(self.armed, item.name, features),
        }

    def of_clip(self, item: Item, candidate: Candidate, features: VisionFeatures) -> float | None:
        """What a probe that has not seen the clip says of a violence alarm's clip views, if it has any."""
        line = self.probes.get(item.name)
        if line is None or candidate.event_type is not EventType.VIOLENCE or features.clip is None:
            return None
        seen = features.clip[np.isfinite(features.clip).all(axis=1)]
        return float((seen @ line[0] + line[1]).mean()) if len(seen) else None


def _opinion(stored: Mapping[str, Any] | None, name: str, features: VisionFeatures) -> float | None:
    """The opinion on a corpus picture, or on anything else by the probe that has seen train only."""
    if stored is None or name in stored["pictures"] or features.scene is None:
        return None if stored is None else stored["pictures"].get(name)
    seen = features.scene[np.isfinite(features.scene).all(axis=1)]
    line = stored["train"]
    return float((seen @ np.array(line["weights"]) + line["bias"]).mean()) if len(seen) else None


def _stored(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else None
