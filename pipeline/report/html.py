"""Writes a report: one self-contained HTML file, pictures inside it, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline import privacy
from pipeline.desk import view
from pipeline.desk.text import translator
from pipeline.errors import ConfigError, FrameStoreError
from pipeline.interfaces import PoseEstimator
from pipeline.report.rows import ClipNote, ReportRow, clip_name, summarise

_TEMPLATES = Path(__file__).parent / "templates"
_ORDER = {"escalate": 0, "review": 1, "dismiss": 2}
_PRIORITY = {"critical": 0, "high": 1, "medium": 2, "low": 3}
_ALIKE = {"fire": ("fire", "smoke"), "smoke": ("fire", "smoke")}
"""Types that are one event: where there is fire there is smoke."""
_MOST_PICTURES = 4
_LARGE, _SMALL = 720, 360


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture of a card: where it is from, and its bytes as a data address."""

    picture: view.Picture
    address: str


@dataclass(frozen=True, slots=True)
class Card:
    """One candidate as the template shows it."""

    row: Mapping[str, Any]
    main: Shot | None
    others: tuple[Shot, ...]
    score: view.ScoreBar
    facts: tuple[view.Fact, ...]
    clip: ClipNote | None
    answer: str

    @property
    def right(self) -> bool | None:
        """Whether the decision agrees with what is known.

        ``None`` where a person is asked, where nothing is known, and for an alarm of another type than
        what happened in the clip, of which nothing is known either.
        """
        decision = self.row.get("decision")
        if self.clip is None or self.clip.incident is None or decision not in ("escalate", "dismiss"):
            return None
        if self.clip.incident and self.row["event_type"] not in _ALIKE.get(
            self.clip.label, (self.clip.label,)
        ):
            return None
        return bool(self.clip.incident == (decision == "escalate"))


def render_report(
    rows: Sequence[ReportRow],
    *,
    title: str = "Situation reports",
    clips: Sequence[ClipNote] = (),
    elapsed_s: float | None = None,
    pose: PoseEstimator | None = None,
    blur: bool = True,
    language: str = "en",
) -> str:
    """The report as text; see :func:`write_report`."""
    notes = {clip_name(clip.clip): clip for clip in clips}
    ordered = sorted(
        rows,
        key=lambda one: (
            _ORDER.get(str(one.row.get("decision")), 3),
            _PRIORITY.get(str(one.row.get("priority")), 4),
            clip_name(one.row["clip"]),
            one.row["start_s"],
        ),
    )
    cards = [_card(one, notes.get(clip_name(one.row["clip"])), pose, blur) for one in ordered]
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    style = (_TEMPLATES / "report.css").read_text(encoding="utf-8")
    alarmed = {clip_name(one.row["clip"]) for one in rows}
    return environment.get_template("report.html").render(
        title=title,
        cards=cards,
        clips=sorted(clips, key=lambda clip: clip_name(clip.clip)),
        alarmed=alarmed,
        sum=summarise(rows, clips),
        elapsed_s=elapsed_s,
        blur=blur,
        made=datetime.now(UTC).astimezone(),
        models=sorted({str(one.row["model"]) for one in rows if one.row.get("model")}),
        prompts=sorted({str(one.row["prompt"]) for one in rows if one.row.get("prompt")}),
        language=language,
        t=translator(language),
        style=Markup(style),
        clip_name=clip_name,
        ms=view.milliseconds,
        span=view.span,
        stream_time=view.stream_time,
    )


def write_report(
    path: Path,
    rows: Sequence[ReportRow],
    *,
    title: str = "Situation reports",
    clips: Sequence[ClipNote] = (),
    elapsed_s: float | None = None,
    pose: PoseEstimator | None = None,
    blur: bool = True,
    language: str = "en",
) -> Path:
    """Write the report, whole or not at all.

    Args:
        path: The file; its folder is made.
        rows: Candidates with their key frames.
        title: Heading.
        clips: What is known about the clips, also those that raised no alarm.
        elapsed_s: How long the whole took.
        pose: Finds the heads to hide; without it only the detector's stored boxes are known, and pictures
            in which people cannot be placed are made coarse as a whole.
        blur: Hide faces.
        language: Of the headings, "en" or "ko".

    Returns:
        The path.

    Raises:
        ConfigError: The file cannot be written.
    """
    page = render_report(
        rows, title=title, clips=clips, elapsed_s=elapsed_s, pose=pose, blur=blur, language=language
    )
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_text(page, encoding="utf-8")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"report {path} cannot be written: {error.strerror}", hint="choose a folder that can be written"
        ) from error
    return path


def _card(one: ReportRow, clip: ClipNote | None, pose: PoseEstimator | None, blur: bool) -> Card:
    evidence = one.row.get("evidence") or {}
    frames = {frame["sha256"]: frame for frame in one.row.get("frames") or ()}
    shots = [shot for shot in view.pictures(list(frames.values()), evidence) if shot.sha256 in one.images]
    main = min(shots, key=lambda shot: (shot.view != "full", shot.moment != "peak"), default=None)
    rest = sorted(
        (shot for shot in shots if shot is not main and shot.view not in ("motion", "clip")),
        key=lambda shot: (shot.view == "region") == (shot.moment != "peak"),
    )[: _MOST_PICTURES - 1]

    def ready(shot: view.Picture, side: int) -> Shot:
        encoded = one.images[shot.sha256]
        try:
            if blur:
                encoded = privacy.shareable(encoded, frames[shot.sha256], evidence, pose, side)
            else:
                encoded = privacy.encode(privacy.decode(encoded))
        except FrameStoreError:
            # One damaged picture must not cost the whole report; its place says so.
            return Shot(shot, "")
        return Shot(shot, "data:image/jpeg;base64," + base64.b64encode(encoded).decode("ascii"))

    return Card(
        row=one.row,
        main=ready(main, _LARGE) if main else None,
        others=tuple(ready(shot, _SMALL) for shot in sorted(rest, key=lambda shot: shot.t_s)),
        score=view.score_bar(one.row.get("score"), _thresholds(one.row)),
        facts=tuple(view.facts(evidence.get("facts") or {})),
        clip=clip,
        answer=one.answer,
    )


def _thresholds(row: Mapping[str, Any]) -> tuple[float, float] | None:
    found = row.get("thresholds")
    return (found["dismiss_below"], found["escalate_at"]) if found else None
