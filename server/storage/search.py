"""Full-text search in PostgreSQL: the index is on `article_words`, a function that the migrations define."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSQUERY

from server.storage.office import Tenant
from server.storage.tables import projections
from sync.entities.flows import PublicationStatus

WEIGHED = 200
"""How many articles whose words fit are weighed against each other."""


async def articles(tenant: Tenant, text: str, symptom: str) -> Sequence[sa.Row[Any]]:
    """Published articles that have all words of `text` and any word of `symptom`, each with its `rank` and an `excerpt`; the best
    first. Without words, all of them, with rank 1."""
    table = projections["knowledge_article"]
    vector = sa.func.article_words(table.c.title, table.c.symptoms, table.c.body)
    every = sa.func.websearch_to_tsquery("english", text)
    some = sa.cast(sa.func.replace(sa.cast(sa.func.plainto_tsquery("english", symptom), sa.Text), "&", "|"), TSQUERY)
    asked = [query for said, query in ((text, every), (symptom, some)) if said.strip()]
    rank = sum((sa.func.ts_rank_cd(vector, query) for query in asked[1:]), sa.func.ts_rank_cd(vector, asked[0])) if asked else None
    shown = sa.func.ts_headline("english", table.c.body, asked[0] if asked else every, "MaxWords=30, MinWords=10")
    query = (
        sa.select(table, (sa.literal(1.0) if rank is None else rank).label("rank"), shown.label("excerpt"))
        .where(table.c.tenant_id == tenant.tenant_id, table.c.status == PublicationStatus.PUBLISHED)
        .where(*(vector.op("@@")(query) for query in asked))
        .order_by(sa.desc("rank"), table.c.id)
        .limit(WEIGHED)
    )
    return (await tenant.connection.execute(query)).all()
