"""The notebooks run from the first cell to the last on a run made here, and are stored without outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import share_converted

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CLIPS = ROOT / "evaluation" / "clips"
SMALL = ("fall-in-office-2.mp4", "three-people-pause.mp4", "car-and-cyclist.mp4")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run over three bundled clips by the real command, with the model that needs no weights."""
    folder = tmp_path_factory.mktemp("lab")
    rows = [json.loads(line) for line in (CLIPS / "clips.jsonl").read_text().splitlines()]
    kept = [json.dumps(row) for row in rows if row["clip"] in SMALL and (CLIPS / row["clip"]).exists()]
    (folder / "few.jsonl").write_text("\n".join(kept) + "\n")
    command = [sys.executable, "-m", "pipeline.cli.main", "eval", "--model", "fake", "--clips", str(CLIPS)]
    done = subprocess.run(
        [*command, "--dataset", str(folder / "few.jsonl"), "--out", str(folder / "run")],
        env={**os.environ, "SITREP_DATA_DIR": str(share_converted(folder / "data"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "run"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_without_outputs(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in cells)


@pytest.mark.slow
def test_all_cells_run(run):
    assert len(NOTEBOOKS) == 2
    # Another seed makes the tried prompt's scores differ, so that flips are shown too.
    env = {**os.environ, "LAB_RUN": str(run), "LAB_MODEL": "fake:seed=3"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbmake", "-q", *map(str, NOTEBOOKS)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
