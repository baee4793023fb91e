"""Uploads of attachments under way, and who has a record of a content.

Revision: 0002, after: 0001
"""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "upload",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("device_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.Text(collation="C"), nullable=False),
        sa.Column(
            "size_bytes", sa.BigInteger(), nullable=False, comment="as announced; how much is here stands in the staged file"
        ),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("asked_ms", sa.BigInteger(), nullable=False, comment="when the device last began it or took it up again"),
        sa.Column("stored_ms", sa.BigInteger(), nullable=True, comment="when it was complete, checked and filed"),
        sa.PrimaryKeyConstraint("tenant_id", "device_no", "sha256", name=op.f("upload_pkey")),
    )
    op.create_index(op.f("attachment_tenant_id_sha256_idx"), "attachment", ["tenant_id", "sha256"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("attachment_tenant_id_sha256_idx"), table_name="attachment")
    op.drop_table("upload")
