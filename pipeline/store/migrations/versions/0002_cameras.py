"""Cameras, their gaps, and the clips of followed folders."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "cameras",
        sa.Column("camera", sa.String(length=200), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("frame_at", TIME, nullable=True),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("sampled", sa.Integer(), nullable=False),
        sa.Column("dropped", sa.Integer(), nullable=False),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("reconnects", sa.Integer(), nullable=False),
        sa.Column("gaps", sa.Integer(), nullable=False),
        sa.Column("gap_s", sa.Float(), nullable=False),
        sa.Column("lag_s", sa.Float(), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("camera", name=op.f("pk_cameras")),
    )
    op.create_table(
        "camera_gaps",
        sa.Column("gap_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("camera", sa.String(length=200), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("start_at", TIME, nullable=False),
        sa.Column("end_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("gap_id", name=op.f("pk_camera_gaps")),
    )
    op.create_index(op.f("ix_camera_gaps_camera_start_at"), "camera_gaps", ["camera", "start_at"])
    op.create_index(op.f("ix_camera_gaps_end_at"), "camera_gaps", ["end_at"])
    op.create_table(
        "clips",
        sa.Column("identity", sa.String(length=64), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("read_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("identity", name=op.f("pk_clips")),
    )


def downgrade() -> None:
    for table in ("clips", "camera_gaps", "cameras"):
        op.drop_table(table)
