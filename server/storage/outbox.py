"""The outbox: messages to customers and other systems, once per event, channel and recipient; and who subscribed to what."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from server.storage.office import Tenant
from server.storage.tables import notification, webhook

DUE, SENT, SKIPPED, DEAD = "due", "sent", "skipped", "dead"
STATES: Final = (DUE, SENT, SKIPPED, DEAD)


class Message(msgspec.Struct, frozen=True):
    """A message to be sent, or one that is not, with the reason.

    `event` names what happened once and for all; with `channel` and `recipient` it is the key by which a message exists once.
    """

    event: str
    kind: str
    channel: str
    recipient: str
    entity: str
    subject: str
    title: str
    body: str
    address: str = ""
    account: str | None = None
    rule_version: int = 0
    state: str = DUE
    reason: str = ""

    @property
    def id(self) -> str:
        """What receivers tell repeats by: the Message-ID of a mail, the webhook-id of a call."""
        return f"msg_{sha256(chr(0).join((self.event, self.channel, self.recipient)).encode()).hexdigest()[:32]}"


async def put(tenant: Tenant, messages: Sequence[Message], now_ms: int) -> int:
    """Add the messages that are not there yet, in the caller's transaction; returns how many were new."""
    if not messages:
        return 0
    rows = [
        {"tenant_id": tenant.tenant_id, "id": m.id, "next_ms": now_ms, "created_ms": now_ms} | msgspec.structs.asdict(m)
        for m in messages
    ]
    made = await tenant.connection.execute(insert(notification).values(rows).on_conflict_do_nothing().returning(notification.c.id))
    return len(made.all())


async def claim(tenant: Tenant, now_ms: int, *, lease_ms: int, limit: int) -> Sequence[sa.Row[Any]]:
    """Messages that are due, taken for `lease_ms`: whoever takes them and dies leaves them due again after that."""
    due = (
        sa.select(notification.c.id)
        .where(notification.c.tenant_id == tenant.tenant_id, notification.c.state == DUE, notification.c.next_ms <= now_ms)
        .order_by(notification.c.next_ms)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")  # as a subquery it could be asked once for each row, and take more than `limit`
    )
    query = (
        sa.update(notification)
        .where(notification.c.tenant_id == tenant.tenant_id, notification.c.id == due.c.id)
        .values(next_ms=now_ms + lease_ms, attempts=notification.c.attempts + 1)
        .returning(notification)
    )
    rows: Sequence[sa.Row[Any]] = (await tenant.connection.execute(query)).all()
    return rows


async def settle(tenant: Tenant, message_id: str, **values: Any) -> bool:
    query = sa.update(notification).filter_by(tenant_id=tenant.tenant_id, id=message_id).values(**values)
    return bool((await tenant.connection.execute(query)).rowcount)


async def is_told(tenant: Tenant, subject: str, event: str, channel: str) -> bool:
    """Whether there are messages of this event already, sent or not."""
    query = sa.select(notification.c.id).filter_by(tenant_id=tenant.tenant_id, subject=subject, event=event, channel=channel)
    return (await tenant.connection.execute(query.limit(1))).first() is not None


async def told(tenant: Tenant, subject: str, kind: str, channel: str) -> Sequence[sa.Row[Any]]:
    """What was sent, or is to be, of one kind about a record."""
    query = sa.select(notification).filter_by(tenant_id=tenant.tenant_id, subject=subject, kind=kind, channel=channel)
    return (await tenant.connection.execute(query.where(notification.c.state.in_((DUE, SENT))))).all()


async def listed(
    tenant: Tenant, *, filters: Mapping[str, str], before: tuple[int, str] | None, limit: int
) -> Sequence[sa.Row[Any]]:
    """Messages, the newest first, before (created_ms, id)."""
    table = notification.c
    query = sa.select(notification).filter_by(tenant_id=tenant.tenant_id, **filters)
    if before:
        query = query.where(sa.tuple_(table.created_ms, table.id) < sa.tuple_(*before))
    return (await tenant.connection.execute(query.order_by(table.created_ms.desc(), table.id.desc()).limit(limit))).all()


async def webhooks(tenant: Tenant, webhook_id: str | None = None) -> Sequence[sa.Row[Any]]:
    query = sa.select(webhook).filter_by(tenant_id=tenant.tenant_id).order_by(webhook.c.id)
    return (await tenant.connection.execute(query.filter_by(id=webhook_id) if webhook_id else query)).all()


async def add_webhook(tenant: Tenant, **values: Any) -> None:
    await tenant.connection.execute(sa.insert(webhook).values(tenant_id=tenant.tenant_id, **values))


async def update_webhook(tenant: Tenant, webhook_id: str, **values: Any) -> None:
    await tenant.connection.execute(sa.update(webhook).filter_by(tenant_id=tenant.tenant_id, id=webhook_id).values(**values))


async def delete_webhook(tenant: Tenant, webhook_id: str) -> bool:
    """The subscription, and what still waits for it."""
    gone = await tenant.connection.execute(sa.delete(webhook).filter_by(tenant_id=tenant.tenant_id, id=webhook_id))
    await tenant.connection.execute(
        sa.update(notification)
        .filter_by(tenant_id=tenant.tenant_id, recipient=webhook_id, channel="webhook", state=DUE)
        .values(state=DEAD, reason="the subscription is gone")
    )
    return bool(gone.rowcount)


def wants(kinds: Sequence[str], kind: str) -> bool:
    """Whether a subscription to these kinds takes one: `appointment.*` is every kind of appointments, none is all."""
    return not kinds or kind in kinds or f"{kind.partition('.')[0]}.*" in kinds
