"""Writes variants of the shipped pack."""

from __future__ import annotations

from pathlib import Path

import yaml

from prompts.pack import SHIPPED

SOURCE = SHIPPED / "incident" / "1.0.0" / "pack.yaml"


def write_pack(root: Path, version: str = "1.0.0", **changes: object) -> Path:
    content = yaml.safe_load(SOURCE.read_text())
    content["version"] = version
    for dotted, value in changes.items():
        target = content
        *parents, last = dotted.split("__")
        for parent in parents:
            target = target[parent]
        target[last] = value
    path = root / "incident" / version / "pack.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path
