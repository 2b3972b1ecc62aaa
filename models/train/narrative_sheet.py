"""A sheet of narratives beside their frames, for people to grade: right, incomplete or wrong.

``python -m models.train.narrative_sheet ROWS.jsonl --frames DIR [--out DIR] [--count 60]`` takes rows of
``sitrep scan`` (or ``rows.jsonl`` of ``sitrep eval``) and the frame store they came from, and writes
``sheet.html`` (frames embedded) and ``sheet.tsv`` with an empty ``grade`` column. Without rows it draws test
images of the corpus and asks an alarm about each.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import html
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.base import Inquiry
from models.registry import create
from models.train import data, evidence_features, text
from pipeline import settings
from pipeline.types import Candidate, KeyFrame, Moment, View
from prompts import load_pack

COLUMNS = (
    "number",
    "event_type",
    "truth",
    "source",
    "score",
    "title",
    "summary",
    "observations",
    "narrative",
    "reason",
    "grade",
    "remark",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the sheet: the report and its frames as JPEG."""

    event_type: str
    truth: str
    source: str
    score: float | None
    report: dict[str, Any]
    images: tuple[bytes, ...]


def from_rows(path: Path, frames: Path, count: int, random: np.random.Generator) -> Iterator[Entry]:
    """Entries of scanned candidates that have a narrative."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = [row for row in rows if row.get("narrative")]
    for index in sorted(random.permutation(len(rows))[:count]):
        row = rows[index]
        images = []
        for shown in row.get("frames", []):
            sha = shown if isinstance(shown, str) else shown.get("sha256", "")
            found = next(iter(frames.glob(f"**/{sha}*")), None) if sha else None
            if found is not None:
                images.append(found.read_bytes())
        truth = str((row.get("truth") or {}).get("label", ""))
        yield Entry(row["event_type"], truth, row["clip"], row.get("score"), row, tuple(images[:6]))


def from_corpus(count: int, language: str, random: np.random.Generator) -> Iterator[Entry]:
    """Entries of test images: an alarm that fits the label, and its report."""
    folder, seen = data.shared_data(), evidence_features.load()
    rows = [row for row in data.read_rows(folder) if row.split == "test"]
    labels = sorted({row.label for row in rows if row.label in text.REAL or row.label in text.FALSE})
    model = create("embedded", settings.load())
    pack = load_pack("incident@1.0.0")
    made = 0
    while made < count:
        label = labels[made % len(labels)]
        options = [row for row in rows if row.label == label]
        row = options[int(random.integers(len(options)))]
        drawn = text.situation(row.file, label, (View.FULL,), seen.get(row.file), random, sites=False)
        if drawn is None:
            continue
        encoded = (folder / "corpus" / row.file).read_bytes()
        height, width = data.image(row, folder).shape[:2]
        frame = KeyFrame(hashlib.sha256(encoded).hexdigest(), View.FULL, Moment.PEAK, 0.0, width, height)
        # Only what detectors saw: measurements drawn for training would be made up here.
        facts = {"still_image": True}
        base = drawn.candidate
        evidence = type(base.evidence)(base.evidence.objects, base.evidence.counts, facts, "")
        candidate = Candidate(
            base.candidate_id, "", row.file, base.event_type, 0.0, 0.0, base.trigger, evidence, (frame,)
        )
        rendered = pack.render(candidate, language=language, images=(encoded,))
        inquiry = Inquiry(
            messages=rendered.messages,
            narrative_messages=rendered.narrative_messages,
            event_type=candidate.event_type,
            evidence=evidence,
            key_frames=(frame,),
            images=(encoded,),
            language=language,
        )
        (score,) = model.score([inquiry])
        report = json.loads(model.narrate(inquiry, score))
        made += 1
        truth = f"{label}: {'real' if drawn.real else 'false alarm'}"
        yield Entry(candidate.event_type.value, truth, row.file, score.log_odds, report, (encoded,))


def write(entries: list[Entry], out: Path) -> None:
    """Write ``sheet.tsv`` and ``sheet.html``."""
    out.mkdir(parents=True, exist_ok=True)
    blocks = []
    with (out / "sheet.tsv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, delimiter="\t", extrasaction="ignore")
        table.writeheader()
        for number, entry in enumerate(entries, start=1):
            said = entry.report
            observations = " | ".join(said.get("observations") or [])
            values = {
                "number": number,
                "event_type": entry.event_type,
                "truth": entry.truth,
                "source": Path(entry.source).name,
                "score": "" if entry.score is None else round(entry.score, 2),
                "title": said.get("title", ""),
                "summary": said.get("summary", ""),
                "observations": observations,
                "narrative": said.get("narrative", ""),
                "reason": said.get("reason", ""),
                "grade": "",
                "remark": "",
            }
            table.writerow(values)
            lines = "".join(
                f"<p><b>{name}</b> {html.escape(str(values[name]))}</p>"
                for name in ("truth", "score", "title", "summary", "observations", "narrative", "reason")
            )
            pictures = "".join(
                f'<img src="data:image/jpeg;base64,{_small(image)}">' for image in entry.images
            )
            blocks.append(
                f"<section><h2>{number} {html.escape(entry.event_type)}</h2>{pictures}{lines}</section>"
            )
    style = "body{font:14px sans-serif;max-width:70em;margin:auto}img{height:180px;margin:2px}p{margin:2px}"
    page = (
        f"<!doctype html><meta charset=utf-8><title>Narratives</title><style>{style}</style>{''.join(blocks)}"
    )
    (out / "sheet.html").write_text(page, encoding="utf-8")


def _small(image: bytes) -> str:
    picture = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        return ""
    scale = 240 / picture.shape[0]
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return base64.b64encode(cv2.imencode(".jpg", picture)[1].tobytes()).decode("ascii")


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=Path, nargs="?")
    parser.add_argument("--frames", type=Path, help="Frame store of the rows.")
    parser.add_argument("--out", type=Path, default=data.WORK / "narratives")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--language", choices=("en", "ko"), default="en")
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    random = np.random.default_rng(arguments.seed)
    if arguments.rows:
        frames = arguments.frames or settings.load().data_dir / "frames"
        entries = list(from_rows(arguments.rows, frames, arguments.count, random))
    else:
        entries = list(from_corpus(arguments.count, arguments.language, random))
    write(entries, arguments.out)
    print(f"{len(entries)} narratives in {arguments.out}/sheet.html and sheet.tsv")


if __name__ == "__main__":
    main()
