"""What an installation may change while workers run: prompts, overrides, policy, calibrations."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.decide import Policy, load_policy
from pipeline.decide.policy import DEFAULT_POLICY
from pipeline.reason.calibration import Calibrations, load_calibrations
from pipeline.settings import Settings
from pipeline.types import Candidate
from prompts.loader import PromptLibrary
from prompts.overrides import OVERRIDES_FILE, Overrides, load_overrides
from prompts.pack import SHIPPED, PromptOverrides, PromptPack
from prompts.schema import canonical_sha256
from prompts.watched import Watched

MODELS = SHIPPED.parent / "models"


@dataclass(frozen=True, slots=True)
class ChosenPrompt:
    """The pack for one candidate, what is overridden in it, and the traffic split it came from."""

    pack: PromptPack
    overrides: PromptOverrides
    split: dict[str, float]


class Site:
    """Reads the installation's files, and reads them again when they change."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.data_dir / "prompts"
        self._prompt = settings.prompt
        self.library = PromptLibrary(folder, SHIPPED)
        self._overrides: Watched[Overrides] = Watched(folder / OVERRIDES_FILE, load_overrides)
        self._policy: Watched[Policy] = Watched(settings.policy or DEFAULT_POLICY, load_policy)
        self._hashed: tuple[Policy, str] | None = None
        self.calibrations: Calibrations = load_calibrations(
            *sorted((settings.data_dir / "calibration").glob("*.json")),
            *sorted(MODELS.glob("*/weights/calibration.json")),
        )

    def check(self) -> None:
        """Read everything once. Raises ConfigError when something is wrong."""
        self._policy.get()
        self._overrides.get()
        self.library.choose(self._prompt)

    def policy(self) -> Policy:
        """The policy now. Raises ConfigError when it was never readable."""
        return self._policy.get()

    def policy_sha256(self) -> str:
        """Hash of the policy's content, for the provenance."""
        policy = self._policy.get()
        if self._hashed is None or self._hashed[0] is not policy:
            self._hashed = (policy, canonical_sha256(policy.model_dump(mode="json")))
        return self._hashed[1]

    def prompt(self, candidate: Candidate, ref: str | None = None) -> ChosenPrompt:
        """The prompt for one candidate; ``ref`` pins it, else override, else setting. Raises PromptError."""
        overriding, changes = self._overrides.get().for_place(candidate.camera, candidate.zone)
        # A version pinned by caller or setting (an evaluation, a re-scoring) is not moved by overrides.
        wanted = ref or (self._prompt if "@" in self._prompt else overriding or self._prompt)
        choice = self.library.choose(wanted, candidate.candidate_id)
        return ChosenPrompt(choice.pack, changes, choice.split)
