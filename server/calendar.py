"""A technician's visits as an iCalendar feed (RFC 5545), behind an address that nobody guesses and the office can revoke."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from icalendar import Calendar, Event

from server.storage.office import Tenant
from server.storage.tables import CREWED, calendar_feed, device_log, projections, record
from sync.entities.flows import AppointmentStatus

DAY_MS: Final = 86_400_000
PAST_MS: Final = 30 * DAY_MS
AHEAD_MS: Final = 180 * DAY_MS
MOST: Final = 2_000
_STATUS: Final = {
    AppointmentStatus.UNSCHEDULED: "TENTATIVE",
    AppointmentStatus.SCHEDULED: "TENTATIVE",
    AppointmentStatus.REJECTED: "CANCELLED",
    AppointmentStatus.CANCELED: "CANCELLED",
}


async def visits_of(tenant: Tenant, technician: str, now_ms: int) -> Sequence[Any]:
    """A technician's visits from a month back to half a year ahead, with order and site, and when each last changed."""
    visit, order, site = projections["appointment"].c, projections["work_order"].c, projections["site"].c
    changed = (
        sa.select(device_log.c.received_ms)
        .where(device_log.c.tenant_id == tenant.tenant_id, device_log.c.seq == record.c.seq)
        .limit(1)
        .scalar_subquery()
    )
    columns = (visit.id, visit.planned_start, visit.planned_end, visit.duration_s, visit.status, order.subject, order.number)
    where = (site.name.label("site"), site.address, site.postal_code, site.city, site.position, site.access_notes)
    theirs = visit.mates.contains([technician])
    query = (
        sa.select(*columns, *where, record.c.seq, changed.label("changed_ms"))
        .join(projections["work_order"], sa.and_(order.tenant_id == visit.tenant_id, order.id == visit.work_order))
        .join(projections["site"], sa.and_(site.tenant_id == visit.tenant_id, site.id == order.site))
        .join(record, sa.and_(record.c.tenant_id == visit.tenant_id, record.c.entity == "appointment", record.c.id == visit.id))
        .where(visit.tenant_id == tenant.tenant_id, sa.or_(visit.technician == technician, sa.and_(CREWED, theirs)))
        .where(visit.planned_start.between(now_ms - PAST_MS, now_ms + AHEAD_MS))
        .order_by(visit.planned_start, visit.id)
        .limit(MOST)
    )
    return (await tenant.connection.execute(query)).all()


def feed(visits: Sequence[Any], name: str, tenant_id: int) -> bytes:
    """The calendar: the same bytes as long as nothing changes. A visit's SEQUENCE is its version, which only grows."""
    calendar = Calendar()
    calendar.add("prodid", "-//Truckroll//Visits//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    calendar.add("x-wr-calname", name)
    for visit in visits:
        calendar.add_component(_event(visit, tenant_id))
    return bytes(calendar.to_ical())


def _event(visit: Any, tenant_id: int) -> Event:
    event = Event()
    start = _time(visit.planned_start)
    event.add("uid", f"{visit.id}.{tenant_id}@truckroll")
    event.add("sequence", visit.seq)
    event.add("dtstamp", _time(visit.changed_ms or 0))
    event.add("last-modified", _time(visit.changed_ms or 0))
    event.add("dtstart", start)
    event.add("dtend", _time(visit.planned_end) if visit.planned_end else start + timedelta(seconds=visit.duration_s))
    event.add("summary", " ".join(part for part in (visit.number, visit.subject or "Visit") if part))
    place = " ".join(part for part in (visit.postal_code, visit.city) if part)
    event.add("location", ", ".join(part for part in (visit.site, visit.address, place) if part))
    if visit.position:
        event.add("geo", (visit.position["lat"], visit.position["lon"]))
    if visit.access_notes:
        event.add("description", visit.access_notes)
    event.add("status", _STATUS.get(visit.status, "CONFIRMED"))
    return event


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC)


async def add_feed(tenant: Tenant, feed_id: str, technician: str, token_hash: bytes, now_ms: int) -> None:
    await tenant.connection.execute(
        sa.insert(calendar_feed).values(
            tenant_id=tenant.tenant_id, id=feed_id, technician=technician, token_hash=token_hash, created_ms=now_ms
        )
    )


async def feeds(tenant: Tenant, feed_id: str | None = None) -> Sequence[sa.Row[Any]]:
    """Feeds that are not revoked, or one of them."""
    query = sa.select(calendar_feed).filter_by(tenant_id=tenant.tenant_id, revoked_ms=None).order_by(calendar_feed.c.id)
    return (await tenant.connection.execute(query.filter_by(id=feed_id) if feed_id else query)).all()


async def revoke_feed(tenant: Tenant, feed_id: str, now_ms: int) -> bool:
    done = await tenant.connection.execute(
        sa.update(calendar_feed).filter_by(tenant_id=tenant.tenant_id, id=feed_id, revoked_ms=None).values(revoked_ms=now_ms)
    )
    return bool(done.rowcount)
