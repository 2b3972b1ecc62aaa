"""Finds packs by reference: which versions exist, which is active, and how traffic is shared."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import PromptError
from prompts.pack import SHIPPED, PromptPack, parse_pack
from prompts.schema import VERSION_PATTERN
from prompts.watched import Watched

ACTIVE_FILE = "active.yaml"
PACK_FILE = "pack.yaml"


class Share(BaseModel):
    """One version's part of the traffic."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: str = Field(pattern=VERSION_PATTERN)
    share: float = Field(gt=0, le=1)


@dataclass(frozen=True, slots=True)
class Choice:
    """The pack chosen for one candidate and the split it was chosen from."""

    pack: PromptPack
    split: dict[str, float]


class PromptLibrary:
    """All packs under some roots, cached until their files change on disk.

    Args:
        roots: Folders of packs, the strongest first; the shipped ones when omitted.
    """

    def __init__(self, *roots: Path) -> None:
        self.roots = roots or (SHIPPED,)
        self._packs: dict[Path, Watched[PromptPack]] = {}
        self._active = [Watched(root / ACTIVE_FILE, read_active) for root in self.roots]

    def versions(self) -> dict[str, list[str]]:
        """Versions of every pack, oldest first."""
        found: dict[str, set[str]] = {}
        for root in self.roots:
            for path in root.glob(f"*/*/{PACK_FILE}"):
                if re.match(VERSION_PATTERN, path.parent.name):
                    found.setdefault(path.parent.parent.name, set()).add(path.parent.name)
        return {name: sorted(found[name], key=version_key) for name in sorted(found)}

    def path(self, name: str, version: str) -> Path:
        """The file of one version. Raises PromptError when there is none."""
        for root in self.roots:
            path = root / name / version / PACK_FILE
            if path.is_file():
                return path
        raise self._missing(name, version)

    def _missing(self, name: str, version: str = "") -> PromptError:
        known = self.versions()
        if name in known:
            has = ", ".join(known[name])
            return PromptError(f"prompt {name} has no version {version}", hint=f"it has: {has}")
        return PromptError(f"there is no prompt '{name}'", hint=f"there are: {', '.join(known) or 'none'}")

    def load(self, name: str, version: str) -> PromptPack:
        """One version; read again when the file has changed."""
        path = self.path(name, version)
        return self._packs.setdefault(path, Watched(path, parse_pack)).get()

    def active(self, name: str) -> dict[str, float]:
        """Traffic share by version: from the strongest root's ``active.yaml``, else all to the newest."""
        for active in self._active:
            shares = active.get().get(name)
            if shares:
                return {share.version: share.share for share in shares}
        known = self.versions().get(name)
        if not known:
            raise self._missing(name)
        return {known[-1]: 1.0}

    def choose(self, ref: str, key: str = "") -> Choice:
        """The pack for ``ref`` (ID or ID@VERSION); ``key`` picks the arm when versions share the traffic.

        The same key always gets the same arm, so a candidate judged again is judged alike.
        """
        name, _, version = ref.partition("@")
        if version:
            return Choice(self.load(name, version), {version: 1.0})
        split = self.active(name)
        point = int.from_bytes(hashlib.sha256(f"{name}:{key}".encode()).digest()[:8], "big") / 2**64
        total, chosen = 0.0, next(reversed(split))
        for arm, share in split.items():
            total += share
            if point < total:
                chosen = arm
                break
        return Choice(self.load(name, chosen), split)


def load_pack(ref: str = "incident", *roots: Path) -> PromptPack:
    """Load a pack by ``ID`` (its active version with the largest share) or ``ID@VERSION``.

    Raises:
        PromptError: There is no such pack, or it is broken.
    """
    library = PromptLibrary(*roots)
    name, _, version = ref.partition("@")
    if not version:
        split = library.active(name)
        version = max(split, key=lambda arm: split[arm])
    return library.load(name, version)


def read_active(path: Path) -> dict[str, list[Share]]:
    """Read an ``active.yaml``: pack id to list of versions with shares that add up to 1."""
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        shares = {
            str(name): [Share.model_validate(item) for item in items] for name, items in content.items()
        }
    except (OSError, yaml.YAMLError, ValidationError, AttributeError, TypeError) as error:
        raise PromptError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from error
    for name, items in shares.items():
        if abs(sum(item.share for item in items) - 1) > 1e-6:
            raise PromptError(f"{path}: the shares of '{name}' do not add up to 1")
    return shares


def version_key(version: str) -> tuple[int, int, int, bool, str]:
    """Sort key of a semantic version: a pre-release comes before its release."""
    core, _, pre = version.partition("-")
    major, minor, patch = (int(part) for part in core.split("."))
    return major, minor, patch, not pre, pre
