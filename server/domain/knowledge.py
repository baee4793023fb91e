"""What is known about repairing something, and how likely it helps with a machine and its symptom."""

from typing import Any

import msgspec

from server.domain.look import look
from server.storage import search
from server.storage.office import Tenant
from sync.entities import KnowledgeArticle
from sync.schema import Body


class Found(msgspec.Struct, frozen=True):
    """An article in the order of its worth (see `KnowledgeArticle.worth`); words that fit are in <b> … </b>."""

    id: str
    title: str
    excerpt: str
    products: tuple[str, ...]
    symptoms: tuple[str, ...]
    helpful: int
    unhelpful: int
    worth: float


async def find(tenant: Tenant, text: str = "", product: str | None = None, symptom: str = "", limit: int = 10) -> list[Found]:
    """Published articles that have all words of `text` and any word of `symptom`, for the product or for none in particular."""
    found = []
    for row in await search.articles(tenant, text, symptom):
        article = msgspec.convert(_fields(row._asdict()), KnowledgeArticle)
        worth = article.worth(row.rank, product)
        helpful = sum(one.helpful for one in article.feedback)
        about = (row.id, article.title, row.excerpt, article.products, article.symptoms, helpful, len(article.feedback) - helpful)
        if worth > 0:
            found.append(Found(*about, round(worth, 6)))
    return sorted(found, key=lambda one: (-one.worth, one.id))[:limit]


def _fields(row: Any) -> Body:
    return {name: row[name] for name in KnowledgeArticle.spec.fields}


async def find_for(tenant: Tenant, order_id: str, limit: int) -> list[Found] | None:
    """What may help with an order, by the model of its machine and by its symptom; None if there is no such order."""
    order = await look(tenant, "work_order", order_id)
    if order is None:
        return None
    asset = await look(tenant, "asset", order.get("asset"))
    return await find(tenant, product=asset.get("product") if asset else None, symptom=order.get("symptom"), limit=limit)
