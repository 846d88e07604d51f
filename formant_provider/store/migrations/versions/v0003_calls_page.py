"""What the calls page reads: an index over the calls of a day, and how each call list stands."""

from __future__ import annotations

import sqlalchemy as sa

from formant_provider.store.migrations.making import DIGEST, NAME, TEXT, make_index, make_table

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make them."""
    counted_by = ["call_at", "kind", "state", "agent_id", "outcome", "dag_id"]
    make_index("formant_intents_called", "formant_intents", counted_by)
    make_table(
        "formant_lists",
        sa.Column("id", DIGEST, primary_key=True),
        sa.Column("dag_id", NAME, nullable=False),
        sa.Column("run_id", NAME, nullable=False),
        sa.Column("task_id", NAME, nullable=False),
        sa.Column("map_index", sa.Integer, nullable=False),
        sa.Column("reference", TEXT),
        sa.Column("told_at", sa.BigInteger, nullable=False),
        sa.Column("resumes_at", sa.BigInteger),
        sa.Column("status", NAME),
        sa.Column("row_count", sa.Integer, nullable=False),
        sa.Column("rejected", sa.Integer, nullable=False),
        sa.Column("waiting", sa.Integer, nullable=False),
        sa.Column("in_progress", sa.Integer, nullable=False),
        sa.Column("reached", sa.Integer, nullable=False),
        sa.Column("closed", sa.Integer, nullable=False),
    )
    make_index("formant_lists_told", "formant_lists", ["told_at"])
