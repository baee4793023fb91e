"""Takes what the outbox has to where it belongs, again and again until it arrives or is given up.

At least once: a message is taken for a while, sent, and then noted as sent. A process that dies in between leaves it to be sent a
second time, under the same Message-ID or webhook-id, by which receivers tell a repeat.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import aiosmtplib
import asyncpg
import sqlalchemy.exc

from server.context import Context
from server.domain.notifications import House
from server.domain.rulebook import in_force
from server.storage import outbox
from server.webhooks import Failed, Forbidden, Unwanted, call

LEASE_MS: Final = 120_000
BATCH: Final = 20
MAX_ATTEMPTS: Final = 12
FIRST_RETRY_MS: Final = 30_000
LONGEST_RETRY_MS: Final = 6 * 3_600_000
GIVE_UP_MS: Final = 5 * 86_400_000
"""A subscription that has failed for so long is switched off."""
POLL_S: Final = 5.0
SMTP_TIMEOUT_S: Final = 30.0

_DATABASE_AWAY: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, sqlalchemy.exc.SQLAlchemyError)
_log: Final = logging.getLogger(__name__)


class Refused(Exception):
    """The message will never arrive as it is."""


def retry_ms(attempts: int, fraction: float) -> int:
    """How long to wait after so many attempts: doubling from half a minute to six hours, spread by a random fraction (0 to 1).

    >>> [retry_ms(n, 0.5) // 1000 for n in (1, 2, 3, 10, 12)]
    [30, 60, 120, 15360, 21600]
    """
    full = min(FIRST_RETRY_MS * 2 ** (attempts - 1), LONGEST_RETRY_MS)
    return int(full * (0.75 + fraction / 2))


async def deliver(context: Context, tenant_id: int, now_ms: int) -> int:
    """Send a batch of what is due; returns how many messages were tried."""
    async with context.office.of(tenant_id) as tenant:
        batch = await outbox.claim(tenant, now_ms, lease_ms=LEASE_MS, limit=BATCH)
    await asyncio.gather(*(_send(context, tenant_id, row, now_ms) for row in batch))
    return len(batch)


async def _send(context: Context, tenant_id: int, row: Any, now_ms: int) -> None:
    try:
        if row.channel == "webhook":
            await _call(context, tenant_id, row, now_ms)
        else:
            await _mail(context, tenant_id, row, now_ms)
    except Refused as refused:
        await _settle(context, tenant_id, row.id, state=outbox.DEAD, reason=str(refused))
    except (Failed, aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        if row.attempts >= MAX_ATTEMPTS:
            await _settle(context, tenant_id, row.id, state=outbox.DEAD, reason=f"given up after {row.attempts} attempts: {error}")
        else:
            wait_ms = retry_ms(row.attempts, context.random(1)[0] / 255)
            await _settle(context, tenant_id, row.id, next_ms=now_ms + wait_ms, reason=str(error))


async def _settle(context: Context, tenant_id: int, message_id: str, **values: Any) -> None:
    async with context.office.of(tenant_id) as tenant:
        await outbox.settle(tenant, message_id, **values)


async def _call(context: Context, tenant_id: int, row: Any, now_ms: int) -> None:
    async with context.office.of(tenant_id) as tenant:
        hooks = await outbox.webhooks(tenant, row.recipient)
    if not hooks or not hooks[0].active:
        raise Refused("the subscription is gone" if not hooks else "the subscription is switched off")
    hook = hooks[0]
    try:
        await call(hook.url, hook.secret, row.id, row.body.encode(), now_ms, private=context.outgoing.private_webhooks)
    except (Failed, Forbidden, Unwanted) as error:
        since_ms = hook.failing_since_ms or now_ms
        over = isinstance(error, Unwanted) or now_ms - since_ms > GIVE_UP_MS
        async with context.office.of(tenant_id) as tenant:
            ended = {"active": False, "disabled_ms": now_ms} if over else {}
            await outbox.update_webhook(tenant, hook.id, failing_since_ms=since_ms, **ended)
        if over or isinstance(error, Forbidden):
            raise Refused(str(error)) from error
        raise
    async with context.office.of(tenant_id) as tenant:
        await outbox.settle(tenant, row.id, state=outbox.SENT, sent_ms=now_ms, reason="")
        if hook.failing_since_ms is not None:
            await outbox.update_webhook(tenant, hook.id, failing_since_ms=None)


async def _mail(context: Context, tenant_id: int, row: Any, now_ms: int) -> None:
    server = urlsplit(context.outgoing.smtp_url)
    if not server.hostname:
        await _settle(context, tenant_id, row.id, state=outbox.SKIPPED, reason="no mail server is set up (TRUCKROLL_SMTP_URL)")
        return
    async with context.office.of(tenant_id) as tenant:
        _, house = await in_force(tenant, "notification", House, now_ms)
    try:
        message = letter(row, tenant_id, house.sender or context.outgoing.mail_from, house.sender_name)
    except ValueError as error:
        raise Refused(f"the address is none: {error}") from error
    try:
        await aiosmtplib.send(
            message,
            hostname=server.hostname,
            port=server.port,
            username=unquote(server.username) if server.username else None,
            password=unquote(server.password) if server.password else None,
            use_tls=server.scheme == "smtps",
            timeout=SMTP_TIMEOUT_S,
        )
    except aiosmtplib.SMTPRecipientsRefused as error:
        if all(one.code >= 500 for one in error.recipients):
            raise Refused(f"the address is refused: {error}") from error
        raise
    await _settle(context, tenant_id, row.id, state=outbox.SENT, sent_ms=now_ms, reason="")


def letter(row: Any, tenant_id: int, sender: str, sender_name: str) -> EmailMessage:
    """The mail of a message: always the same bytes, whenever it is sent. Raises ValueError if an address is none."""
    message = EmailMessage()
    source = Address(sender_name, addr_spec=sender)
    message["From"] = source
    message["To"] = Address(addr_spec=row.address)
    message["Subject"] = " ".join(row.title.split())
    message["Date"] = format_datetime(datetime.fromtimestamp(row.created_ms / 1000, UTC))
    message["Message-ID"] = f"<{row.id}.{tenant_id}@{source.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(row.body)
    return message


class Courier:
    """Delivers for every tenant, woken when something has been put into the outbox here, and now and then."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._wake = asyncio.Event()

    def note(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        while True:
            self._wake.clear()
            try:
                for tenant_id in (await self._context.office.tenants()).values():
                    while await deliver(self._context, tenant_id, self._context.now_ms()) == BATCH:
                        pass
            except _DATABASE_AWAY:
                _log.exception("the courier waits")
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()


@asynccontextmanager
async def running_courier(context: Context) -> AsyncIterator[Courier]:
    """A courier at work in this process."""
    courier = Courier(context)
    task = asyncio.create_task(courier.run(), name="courier")
    try:
        yield courier
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
