"""links that moved since they were read

Revision: 0019, after: 0018
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        create function refuse_if_linked(linked bigint, known bigint) returns bigint
        language plpgsql as $$ begin
            if linked > known then
                raise exception 'stale: links were written by commit %, and read as of %', linked, known using errcode = 'TR001';
            end if;
            return linked;
        end $$
        """
    )


def downgrade() -> None:
    op.execute("drop function refuse_if_linked(bigint, bigint)")
