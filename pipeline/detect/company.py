"""Who was about lately: what only people can do is not suspected where there were none but animals."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from pipeline.detect.scene import Scene
from pipeline.detect.tracker import ANIMALS

_PEOPLE = frozenset({"person"})


@dataclass(frozen=True, slots=True)
class CompanyParams:
    """Thresholds.

    Attributes:
        memory_s: So far back is looked. Who lies, and is taken for a dog then, walked in before.
        person: From this detection score on somebody may have been there.
        animal: From this one on an animal was.
        share: In so large a share of the looks an animal must have been seen.
        looks: After fewer looks nothing is said.
    """

    memory_s: float = 10.0
    person: float = 0.2
    animal: float = 0.5
    share: float = 0.5
    looks: int = 5


class Company:
    """Remembers who was seen in one stream.

    Args:
        params: Thresholds.
    """

    def __init__(self, params: CompanyParams | None = None) -> None:
        self.params = params or CompanyParams()
        self._looks: deque[tuple[float, bool, bool]] = deque()

    def only_animals(self, scene: Scene) -> bool:
        """Take in one sampled frame of a video; whether there were animals, and nobody, of late."""
        params = self.params
        if scene.looked:
            somebody = bool(scene.boxes(_PEOPLE, params.person))
            self._looks.append((scene.t_s, somebody, bool(scene.boxes(ANIMALS, params.animal))))
        while self._looks and scene.t_s - self._looks[0][0] > params.memory_s:
            self._looks.popleft()
        if len(self._looks) < params.looks or any(somebody for _, somebody, _ in self._looks):
            return False
        return sum(animal for *_, animal in self._looks) >= params.share * len(self._looks)
