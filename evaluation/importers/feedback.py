"""Operators' answers as a dataset: what people confirmed, and what they called a false alarm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from evaluation.dataset import BENIGN, DatasetError, DatasetRow, Event
from pipeline.settings import Settings
from pipeline.store.schema import Answer, feedback, incidents
from pipeline.types import EventType


def import_feedback(engine: sa.Engine, settings: Settings) -> list[DatasetRow]:
    """Rows of the clips whose incidents have an answer; the last answer of each incident counts.

    A clip is benign when every answered incident in it is a false alarm. Answers "unsure", and live
    streams (whose footage is gone), are left out.

    Raises:
        DatasetError: There is no usable answer yet.
    """
    last = (
        sa.select(sa.func.max(feedback.c.feedback_id).label("feedback_id"))
        .group_by(feedback.c.incident_id)
        .subquery()
    )
    wanted = (
        sa.select(
            incidents.c.source,
            incidents.c.camera,
            incidents.c.event_type,
            incidents.c.start_s,
            incidents.c.end_s,
            feedback.c.answer,
        )
        .join(feedback, feedback.c.incident_id == incidents.c.incident_id)
        .join(last, last.c.feedback_id == feedback.c.feedback_id)
        .where(feedback.c.answer != str(Answer.UNSURE), incidents.c.merged_into.is_(None))
        .order_by(incidents.c.source, incidents.c.start_s)
    )
    with engine.connect() as connection:
        answered = connection.execute(wanted).all()
    of_source: dict[str, list[Any]] = {}
    for row in answered:
        if "://" not in row.source:
            of_source.setdefault(row.source, []).append(row)
    if not of_source:
        raise DatasetError(
            "no operator has answered an incident of a stored clip yet",
            hint="confirm or reject incidents on the incident page first",
        )
    rows = []
    for source, found in of_source.items():
        real = [row for row in found if row.answer == Answer.CONFIRMED]
        rows.append(
            DatasetRow(
                clip=Path(source).as_posix(),
                label=real[0].event_type if real else BENIGN,
                escalate=bool(real),
                events=tuple(
                    Event(type=EventType(row.event_type), start_s=row.start_s, end_s=row.end_s)
                    for row in real
                ),
                # Alarms of one camera share scene and light: they are not independent.
                group=f"camera:{found[0].camera}",
                camera=found[0].camera,
                source=f"operators' answers, {settings.data_dir.name}",
                licence="own footage",
                kind="confirmed" if real else "false_alarm",
            )
        )
    return rows
