"""What a run must remember to be repeated: code, versions, model, prompt, data, settings, seeds."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from evaluation.bootstrap import RESAMPLES, SEED
from evaluation.dataset import Dataset
from pipeline import __version__
from pipeline.settings import Settings, masked

FORMAT = 1
PACKAGES = ("torch", "transformers", "openvino", "opencv-python-headless", "numpy", "celery")


def new_manifest(dataset: Dataset, settings: Settings, *, events: Path | None) -> dict[str, Any]:
    """The content of ``run.json`` when a run begins."""
    return {
        "sitrep_run": FORMAT,
        "state": "running",
        "started_at": _now(),
        "finished_at": None,
        "seconds": 0.0,
        "dataset": {
            "path": str(dataset.path),
            "clips": str(dataset.root),
            "events": str(events.absolute()) if events else None,
            "sha256": dataset.sha256,
            "rows": len(dataset.rows),
            "split": dataset.split,
        },
        "model": settings.model,
        "prompt": settings.prompt,
        "model_ids": [],
        "prompts": [],
        "settings": masked(settings),
        "seeds": {"bootstrap": SEED, "resamples": RESAMPLES},
        "code": {"version": __version__, **git_state()},
        "versions": {"python": platform.python_version(), **_versions()},
    }


def finished(
    manifest: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], seconds: float
) -> dict[str, Any]:
    """The manifest once every clip has its rows, with the models and prompts that really answered."""
    rows = list(rows)
    prompts = {(row["prompt"], row.get("prompt_sha256")) for row in rows if row.get("prompt")}
    return {
        **manifest,
        "state": "done",
        "finished_at": _now(),
        "seconds": round(float(manifest.get("seconds", 0.0)) + seconds, 1),
        "model_ids": sorted({row["model"] for row in rows if row.get("model")}),
        "prompts": [{"id": name, "sha256": sha} for name, sha in sorted(prompts, key=str)],
    }


def git_state() -> dict[str, Any]:
    """Commit of the code and whether it was changed since; nulls outside a checkout."""
    folder = Path(__file__).resolve().parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no")
    return {"git_commit": commit, "changed": None if commit is None else bool(changed)}


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
