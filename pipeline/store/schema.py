"""The tables of the queue of record, and the words their state columns may hold.

One schema for SQLite and PostgreSQL: JSON columns become ``JSONB`` on PostgreSQL, times are always
timezone-aware UTC in Python, states are short strings from the enums below.

    runs 1-n jobs n-1 candidates n-n frames        outbox n-1 incidents 1-n feedback
                 jobs 1-1 verdicts n-1 candidates n-1 incidents       audit, leases, workers
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

ID_LENGTH = 64


class JobState(StrEnum):
    """Where a job is. ``done``, ``dead``, ``shed`` and ``cancelled`` are final."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"
    SHED = "shed"
    CANCELLED = "cancelled"


FINISHED = (JobState.DONE, JobState.DEAD, JobState.SHED, JobState.CANCELLED)


class RunKind(StrEnum):
    """What asked for a set of jobs."""

    SCAN = "scan"
    DEMO = "demo"
    WATCH = "watch"
    EVAL = "eval"
    ARCHIVE = "archive"
    BENCH = "bench"


class RunState(StrEnum):
    """Whether a run still adds jobs."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class IncidentState(StrEnum):
    """What people say about an incident; ``new`` until somebody answered."""

    NEW = "new"
    CONFIRMED = "confirmed"
    FALSE_ALARM = "false_alarm"
    UNSURE = "unsure"


class Answer(StrEnum):
    """An operator's answer, one key each."""

    CONFIRMED = "confirmed"
    FALSE_ALARM = "false_alarm"
    UNSURE = "unsure"


class OutboxState(StrEnum):
    """Where an alert is."""

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"


class Deed(StrEnum):
    """What the audit trail records; also the event names a live page follows."""

    INCIDENT_OPENED = "incident.opened"
    INCIDENT_CHANGED = "incident.changed"
    INCIDENT_MERGED = "incident.merged"
    FEEDBACK_GIVEN = "feedback.given"
    JOB_DEAD = "job.dead"
    JOB_SHED = "job.shed"
    JOB_REQUEUED = "job.requeued"
    RUN_CANCELLED = "run.cancelled"
    NARRATIVE_ADDED = "narrative.added"
    RETENTION = "retention.removed"
    SIGNED_IN = "desk.signed_in"
    INCIDENT_VIEWED = "incident.viewed"
    REPORT_SAVED = "incident.report_saved"


class UtcDateTime(TypeDecorator[datetime]):
    """Timezone-aware UTC in Python whatever the database keeps."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times: they are a bug, not a time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive time {value.isoformat()}: give a timezone-aware one")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give UTC back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def utcnow() -> datetime:
    """Now, timezone-aware."""
    return datetime.now(UTC)


JsonColumn = JSON().with_variant(JSONB(), "postgresql")
NullableJson = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id(name: str, *args: Any, **kwargs: Any) -> Column[str]:
    return Column(name, String(ID_LENGTH), *args, **kwargs)


runs = Table(
    "runs",
    metadata,
    _id("run_id", primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("label", Text, nullable=False, default=""),
    Column("state", String(16), nullable=False, default=RunState.RUNNING),
    Column("sources", JsonColumn, nullable=False, default=list),
    Column("params", JsonColumn, nullable=False, default=dict),
    Column("counts", JsonColumn, nullable=False, default=dict),
    Column("created_at", UtcDateTime(), nullable=False, default=utcnow),
    Column("finished_at", UtcDateTime()),
    Index(None, "kind", "created_at"),
)
"""One scan, demo, watch, evaluation or archive re-score, with its source list and counts."""

incidents = Table(
    "incidents",
    metadata,
    _id("incident_id", primary_key=True),
    Column("camera", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("event_type", String(32), nullable=False),
    Column("zone", Text),
    Column("start_s", Float, nullable=False),
    Column("end_s", Float, nullable=False),
    Column("started_at", UtcDateTime(), doc="Wall clock of start_s when known."),
    Column("ended_at", UtcDateTime()),
    Column("state", String(16), nullable=False, default=IncidentState.NEW),
    Column("action", String(16), nullable=False, doc="Strongest Action of its candidates' live verdicts."),
    Column("priority", String(16), nullable=False),
    Column("priority_rank", Integer, nullable=False, doc="0 critical .. 3 low, for sorting."),
    Column("score", Float, doc="Of the representative verdict; NULL when that one failed."),
    Column("title", Text, nullable=False, default=""),
    Column("summary", Text, nullable=False, default=""),
    Column("verdict_id", Integer, doc="Representative verdict."),
    _id("candidate_id", doc="Candidate of the representative verdict."),
    Column("candidate_count", Integer, nullable=False, default=1),
    _id("merged_into", doc="Set when it turned out to be part of an older incident; then not listed."),
    Column("created_at", UtcDateTime(), nullable=False, default=utcnow),
    Column("updated_at", UtcDateTime(), nullable=False, default=utcnow),
    Index(None, "camera", "event_type", "source"),
    Index(None, "state", "priority_rank", "created_at"),
    Index(None, "updated_at"),
)
"""One real-world event: candidates of one camera and event type whose times overlap."""

candidates = Table(
    "candidates",
    metadata,
    _id("candidate_id", primary_key=True),
    Column("camera", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("event_type", String(32), nullable=False),
    Column("start_s", Float, nullable=False),
    Column("end_s", Float, nullable=False),
    Column("trigger_name", String(64), nullable=False),
    Column("trigger_score", Float, nullable=False),
    Column("zone", Text),
    Column("wall_time", Text, doc="ISO 8601 as the source gave it."),
    Column("occurred_at", UtcDateTime(), nullable=False, doc="wall_time, else when it was stored."),
    Column("evidence", JsonColumn, nullable=False),
    Column("key_frames", JsonColumn, nullable=False),
    _id("run_id", ForeignKey("runs.run_id", ondelete="SET NULL"), doc="Run that saw it first."),
    _id("incident_id", ForeignKey("incidents.incident_id", ondelete="SET NULL")),
    Column("created_at", UtcDateTime(), nullable=False, default=utcnow),
    Index(None, "camera", "occurred_at"),
    Index(None, "occurred_at"),
    Index(None, "incident_id"),
    Index(None, "run_id"),
)

frames = Table(
    "frames",
    metadata,
    _id("sha256", primary_key=True),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("created_at", UtcDateTime(), nullable=False, default=utcnow),
    Column("removed_at", UtcDateTime(), doc="Set by retention once the file is gone."),
    Index(None, "created_at"),
)
"""Index of the content-addressed files; the bytes are in the frame store."""

candidate_frames = Table(
    "candidate_frames",
    metadata,
    _id("candidate_id", ForeignKey("candidates.candidate_id", ondelete="CASCADE"), primary_key=True),
    _id("sha256", ForeignKey("frames.sha256", ondelete="CASCADE"), primary_key=True),
    Index(None, "sha256"),
)

jobs = Table(
    "jobs",
    metadata,
    _id("job_id", primary_key=True),
    _id("job_key", nullable=False, doc="sha256 of candidate, frames, prompt, model and parameters."),
    _id("candidate_id", ForeignKey("candidates.candidate_id", ondelete="CASCADE"), nullable=False),
    _id("run_id", ForeignKey("runs.run_id", ondelete="SET NULL")),
    Column("camera", Text, nullable=False, doc="Copied from the candidate for admission counts."),
    Column("lane", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("live", Boolean, nullable=False, doc="Whether its verdict makes incidents and alerts."),
    Column("model", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("prompt_sha256", String(64), nullable=False),
    Column("params", JsonColumn, nullable=False, default=dict),
    Column("attempts", Integer, nullable=False, default=0),
    Column("lease_until", UtcDateTime()),
    Column("not_before", UtcDateTime(), doc="Back-off after a retryable failure."),
    Column("worker_id", String(200)),
    Column("error", Text, doc="Last error, one line."),
    Column("error_source", String(32), doc="Stage of the last error."),
    Column("created_at", UtcDateTime(), nullable=False, default=utcnow),
    Column("sent_at", UtcDateTime(), doc="When its message was last sent; NULL: never."),
    Column("claimed_at", UtcDateTime()),
    Column("finished_at", UtcDateTime()),
    UniqueConstraint("job_key"),
    Index(None, "state", "lane", "created_at"),
    # Few and narrow: every change of state writes to each index that holds it.
    Index(
        "ix_jobs_pending_camera",
        "camera",
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
    Index(None, "run_id"),
    Index(None, "candidate_id"),
)
"""The queue of record: one row a judgement that was asked for."""

verdicts = Table(
    "verdicts",
    metadata,
    Column("verdict_id", Integer, primary_key=True, autoincrement=True),
    _id("candidate_id", ForeignKey("candidates.candidate_id", ondelete="CASCADE"), nullable=False),
    _id("job_id", ForeignKey("jobs.job_id", ondelete="CASCADE"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("live", Boolean, nullable=False, doc="The one that counts for its candidate; at most one."),
    Column("state", String(16), nullable=False),
    Column("score", Float),
    Column("log_odds", Float),
    Column("category", String(32)),
    Column("action", String(16), nullable=False),
    Column("priority", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("criteria", JsonColumn, nullable=False),
    Column("narrative", NullableJson),
    Column("grounded", Boolean),
    Column("model", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("prompt_sha256", String(64), nullable=False),
    Column("provenance", JsonColumn, nullable=False),
    Column("timings_ms", JsonColumn, nullable=False),
    Column("error_source", String(32)),
    Column("error", Text),
    Column("raw_reply", Text),
    Column("created_at", UtcDateTime(), nullable=False, default=utcnow),
    UniqueConstraint("job_id"),
    Index(None, "candidate_id"),
    Index(
        "uq_verdicts_live_candidate_id",
        "candidate_id",
        unique=True,
        sqlite_where=text("live"),
        postgresql_where=text("live"),
    ),
)
"""Every judgement ever made, versions side by side; ``live`` marks the one the desk shows."""

outbox = Table(
    "outbox",
    metadata,
    Column("outbox_id", Integer, primary_key=True, autoincrement=True),
    Column("alert_key", String(100), nullable=False),
    _id("incident_id", ForeignKey("incidents.incident_id", ondelete="CASCADE"), nullable=False),
    Column("payload", JsonColumn, nullable=False),
    Column("state", String(16), nullable=False, default=OutboxState.PENDING),
    Column("attempts", Integer, nullable=False, default=0),
    Column("not_before", UtcDateTime()),
    Column("error", Text),
    Column("created_at", UtcDateTime(), nullable=False, default=utcnow),
    Column("sent_at", UtcDateTime()),
    UniqueConstraint("alert_key"),
    Index(None, "state", "not_before"),
)
"""Alerts to deliver; the unique key makes one alert of one incident whatever is retried."""

feedback = Table(
    "feedback",
    metadata,
    Column("feedback_id", Integer, primary_key=True, autoincrement=True),
    _id("incident_id", ForeignKey("incidents.incident_id", ondelete="CASCADE"), nullable=False),
    Column("verdict_id", Integer, doc="What the operator was looking at."),
    Column("operator", Text, nullable=False),
    Column("answer", String(16), nullable=False),
    Column("note", Text, nullable=False, default=""),
    Column("at", UtcDateTime(), nullable=False, default=utcnow),
    Index(None, "incident_id", "at"),
)

audit = Table(
    "audit",
    metadata,
    Column("audit_id", Integer, primary_key=True, autoincrement=True),
    Column("who", String(200), nullable=False),
    Column("what", String(64), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("detail", JsonColumn, nullable=False, default=dict),
    Column("at", UtcDateTime(), nullable=False, default=utcnow),
    Index(None, "subject"),
    Index(None, "at"),
)
"""Append-only: who did what to which subject. Its rising id is what a live page resumes from."""

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("until", UtcDateTime(), nullable=False),
)
"""Single-flight duties, e.g. the reconciler's."""

workers = Table(
    "workers",
    metadata,
    Column("worker_id", String(200), primary_key=True),
    Column("host", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("started_at", UtcDateTime(), nullable=False),
    Column("seen_at", UtcDateTime(), nullable=False),
    Column("stopped_at", UtcDateTime()),
)
"""Worker groups and when they last gave a sign of life."""

cameras = Table(
    "cameras",
    metadata,
    Column("camera", String(200), primary_key=True),
    _id("run_id"),
    Column("uri", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("frame_at", UtcDateTime()),
    Column("frames", Integer, nullable=False, default=0),
    Column("sampled", Integer, nullable=False, default=0),
    Column("dropped", Integer, nullable=False, default=0),
    Column("looks", Integer, nullable=False, default=0),
    Column("skipped", Integer, nullable=False, default=0),
    Column("reconnects", Integer, nullable=False, default=0),
    Column("gaps", Integer, nullable=False, default=0),
    Column("gap_s", Float, nullable=False, default=0.0),
    Column("lag_s", Float, nullable=False, default=0.0),
    Column("updated_at", UtcDateTime(), nullable=False),
)
"""How each watched camera is; counters since it was opened. ``uri`` holds no credentials."""

camera_gaps = Table(
    "camera_gaps",
    metadata,
    Column("gap_id", Integer, primary_key=True, autoincrement=True),
    Column("camera", String(200), nullable=False),
    _id("run_id"),
    Column("reason", Text, nullable=False),
    Column("start_at", UtcDateTime(), nullable=False),
    Column("end_at", UtcDateTime(), nullable=False),
    Index(None, "camera", "start_at"),
    Index(None, "end_at"),
)
"""Times without usable frames: what nobody could have seen."""

clips = Table(
    "clips",
    metadata,
    _id("identity", primary_key=True),
    Column("path", Text, nullable=False),
    _id("run_id"),
    Column("read_at", UtcDateTime(), nullable=False, default=utcnow),
)
"""Clips of followed folders that have been read, by their content."""
