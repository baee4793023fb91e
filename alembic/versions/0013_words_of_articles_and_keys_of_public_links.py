"""Words of articles and keys of public links

Revision: 0013, after: 0012
"""

import sqlalchemy as sa

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

ARTICLE_WORDS = """
create function article_words(title text, symptoms text[], body text) returns tsvector language sql immutable parallel safe as $$
    select setweight(to_tsvector('pg_catalog.english', coalesce(title, '')), 'A')
        || setweight(to_tsvector('pg_catalog.english', coalesce(array_to_string(symptoms, ' '), '')), 'A')
        || setweight(to_tsvector('pg_catalog.english', coalesce(body, '')), 'C')
$$
"""


def upgrade() -> None:
    op.create_table(
        "link_key",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False, comment="what the tokens of its public links are made with"),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("link_key_pkey")),
    )
    op.create_index(op.f("maintenance_plan_tenant_id_asset_idx"), "maintenance_plan", ["tenant_id", "asset"], unique=False)
    op.execute(ARTICLE_WORDS)
    op.execute("create index knowledge_article_words_idx on knowledge_article using gin (article_words(title, symptoms, body))")


def downgrade() -> None:
    op.execute("drop index knowledge_article_words_idx")
    op.execute("drop function article_words(text, text[], text)")
    op.drop_index(op.f("maintenance_plan_tenant_id_asset_idx"), table_name="maintenance_plan")
    op.drop_table("link_key")
