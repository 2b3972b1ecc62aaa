"""Making, releasing and promoting prompt versions.

A version is a draft until ``prompts.lock`` of its root names it; from then on it must not change. The lock is
checked by ``sitrep prompts check`` (in CI too), so every verdict's prompt can be found again as it was.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

from pipeline.errors import PromptError
from prompts.loader import ACTIVE_FILE, PACK_FILE, PromptLibrary, Share, read_active, version_key
from prompts.pack import SHIPPED, PromptPack, parse_pack

LOCK_FILE = "prompts.lock"
HISTORY_FILE = "active.history.jsonl"
_LOCK_HEAD = "# Released prompt versions and the hash of their content. Written by: sitrep prompts lock\n"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check: a released version that changed or vanished, or a pack that is broken."""

    ref: str
    problem: str
    hint: str


def read_lock(root: Path) -> dict[str, str]:
    """Hash of every released version of a root. Raises PromptError when the lock cannot be read."""
    path = root / LOCK_FILE
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise PromptError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    good = isinstance(content, dict) and all(
        isinstance(key, str) and isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value)
        for key, value in content.items()
    )
    if not good:
        raise PromptError(f"{path} is not a list of 'id@version: sha256'", hint="restore it from history")
    return dict(content)


def is_released(pack: PromptPack) -> bool:
    """Whether the lock of the pack's root names it with this very content."""
    return read_lock(_root_of(pack)).get(pack.ref) == pack.sha256


def check(root: Path) -> list[Finding]:
    """Every broken pack of a root, and every released version that is not what was released."""
    findings, seen = [], set()
    lock = read_lock(root)
    for path in sorted(root.glob(f"*/*/{PACK_FILE}")):
        ref = f"{path.parent.parent.name}@{path.parent.name}"
        seen.add(ref)
        try:
            pack = parse_pack(path)
        except PromptError as error:
            findings.append(Finding(ref, error.message, error.hint))
            continue
        if ref in lock and pack.sha256 != lock[ref]:
            command = f"sitrep prompts new {pack.file.id} --from {pack.file.version}"
            hint = f"undo the edit and make a new version instead: {command}"
            findings.append(Finding(ref, "is released and was changed", hint))
    findings += [
        Finding(ref, "is released but its file is gone", "restore it: stored verdicts refer to it")
        for ref in sorted(set(lock) - seen)
    ]
    try:
        for name, shares in read_active(root / ACTIVE_FILE).items():
            for share in shares:
                places = [place / name / share.version / PACK_FILE for place in (root, SHIPPED)]
                if not any(place.is_file() for place in places):
                    ref = f"{name}@{share.version}"
                    findings.append(Finding(ref, "is active but does not exist", f"edit {ACTIVE_FILE}"))
    except PromptError as error:
        findings.append(Finding(ACTIVE_FILE, error.message, error.hint))
    return findings


def lock(root: Path) -> list[str]:
    """Release every draft of a root; returns what was released.

    Raises:
        PromptError: A pack is broken, or a released version was changed.
    """
    if findings := check(root):
        first = findings[0]
        raise PromptError(f"{first.ref} {first.problem}", hint=first.hint)
    held = read_lock(root)
    fresh = {}
    for path in sorted(root.glob(f"*/*/{PACK_FILE}")):
        pack = parse_pack(path)
        if pack.ref not in held:
            fresh[pack.ref] = pack.sha256
    if fresh:
        merged = dict(sorted({**held, **fresh}.items()))
        _write(root / LOCK_FILE, _LOCK_HEAD + yaml.safe_dump(merged, sort_keys=True))
    return sorted(fresh)


def new_version(library: PromptLibrary, root: Path, name: str, source: str | None, bump: str) -> Path:
    """Copy a version into ``root`` under the next number and return its file.

    Args:
        library: Where the source is looked up.
        root: Where the copy goes.
        name: Pack id.
        source: Version to copy; the newest when ``None``.
        bump: Which part of the number grows: ``major``, ``minor`` or ``patch``.

    Raises:
        PromptError: There is no such pack or version, or the new number is taken.
    """
    known = library.versions().get(name, [])
    version = source or (known[-1] if known else "")
    text = library.path(name, version).read_text(encoding="utf-8")
    number = list(version_key(version)[:3])
    place = {"major": 0, "minor": 1, "patch": 2}[bump]
    number[place] += 1
    number[place + 1 :] = [0] * (2 - place)
    fresh = ".".join(map(str, number))
    if fresh in known:
        raise PromptError(f"prompt {name}@{fresh} already exists", hint=f"edit it, or use --from {known[-1]}")
    text = re.sub(r"(?m)^version:.*$", f"version: {fresh}", text, count=1)
    note = json.dumps(f"{fresh}: from {version}; say what changed.")
    text = re.sub(r"(?m)^changelog:[ \t]*\n(?=([ \t]*)-)", rf"changelog:\n\g<1>- {note}\n", text, count=1)
    path = root / name / fresh / PACK_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, text)
    try:
        parse_pack(path)
    except PromptError:
        path.unlink()
        raise
    return path


def promote(
    library: PromptLibrary, root: Path, name: str, version: str, share: float = 1.0
) -> dict[str, float]:
    """Give a released version this share of the traffic; the active ones keep the rest in proportion.

    Raises:
        PromptError: The version does not exist or is a draft.
    """
    pack = library.load(name, version)
    if not is_released(pack):
        raise PromptError(f"prompt {pack.ref} is a draft", hint="release it first: sitrep prompts lock")
    if not 0 < share <= 1:
        raise PromptError(f"a share of {share} is not above 0 and at most 1")
    before = library.active(name)
    others = {key: value for key, value in before.items() if key != version}
    total = sum(others.values())
    after = {version: share}
    if share < 1:
        if not others:
            raise PromptError(f"prompt {pack.ref} is the only active version", hint="promote another one")
        after = {key: value / total * (1 - share) for key, value in others.items()} | after
    _activate(root, name, after, before)
    return after


def rollback(root: Path, name: str) -> dict[str, float]:
    """Undo the last promotion made in ``root`` and return the shares now in force.

    Raises:
        PromptError: There is nothing to undo.
    """
    path = root / HISTORY_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for index in range(len(lines) - 1, -1, -1):
        entry = json.loads(lines[index])
        if entry["name"] == name:
            _write_active(root, name, entry["before"])
            del lines[index]
            _write(path, "".join(line + "\n" for line in lines))
            return {key: float(value) for key, value in entry["before"].items()}
    raise PromptError(f"no promotion of '{name}' to undo in {root}", hint="see: sitrep prompts list")


def _activate(root: Path, name: str, after: dict[str, float], before: dict[str, float]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "name": name,
        "before": before,
        "after": after,
    }
    history = root / HISTORY_FILE
    held = history.read_text(encoding="utf-8") if history.is_file() else ""
    _write(history, held + json.dumps(entry) + "\n")
    _write_active(root, name, after)


def _write_active(root: Path, name: str, shares: dict[str, float]) -> None:
    held = read_active(root / ACTIVE_FILE)
    held[name] = [Share(version=version, share=share) for version, share in shares.items()]
    plain = {key: [item.model_dump() for item in items] for key, items in held.items()}
    head = "# Which version of a pack answers for its bare id, and with what share of the candidates.\n"
    _write(root / ACTIVE_FILE, head + yaml.safe_dump(plain, sort_keys=True))


def _root_of(pack: PromptPack) -> Path:
    return pack.path.parent.parent.parent


def _write(path: Path, text: str) -> None:
    # A worker may read at this moment: it must see the old file or the new one.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise PromptError(f"{path} cannot be written: {error}") from error
