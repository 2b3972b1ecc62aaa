"""Write ``vision.json``: which weights files belong together, with their hashes.

``python -m models.train.vision_manifest`` after any change of the weights; the run time refuses others.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from models.embedded.vision import ATTRIBUTES, MANIFEST, WEIGHTS_DIR
from models.wheelfiles import file_sha256

FILES = {"stills": "vision.safetensors", "motion": "vision_motion.safetensors"}


def commit() -> str:
    """Revision of the code that trained the weights, or "unknown" outside a checkout."""
    call = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return call.stdout.strip() or "unknown"


def write_manifest(weights_dir: Path = WEIGHTS_DIR, *, note: str = "") -> Path:
    """Hash the weights files that exist and write the manifest beside them."""
    files = {
        name: {"file": file, "sha256": file_sha256(weights_dir / file)}
        for name, file in FILES.items()
        if (weights_dir / file).is_file()
    }
    manifest = weights_dir / MANIFEST
    described = {
        "attributes": list(ATTRIBUTES),
        "files": files,
        "training_commit": commit(),
        "data_card": "models/DATA_CARD.md",
        "note": note,
    }
    manifest.write_text(json.dumps(described, indent=2) + "\n")
    return manifest


if __name__ == "__main__":
    print(write_manifest())
