"""records by seq for who asks for it

Revision: 0017, after: 0016
"""

import sqlalchemy as sa

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

NAME = "record_tenant_id_entity_seq_idx"
COLUMNS = ["tenant_id", "entity", "seq"]


def upgrade() -> None:
    op.drop_index(NAME, table_name="record")
    op.create_index(NAME, "record", COLUMNS, unique=False, postgresql_where=sa.text("seq > 0"))


def downgrade() -> None:
    op.drop_index(NAME, table_name="record")
    op.create_index(NAME, "record", COLUMNS, unique=False)
