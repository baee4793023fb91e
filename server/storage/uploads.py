"""What the database knows of attachments: uploads under way, and which records tell of a content. How far an upload is stands in
its staged file alone, so that the two can never disagree."""

from collections.abc import Sequence
from typing import Final

import msgspec

from server.storage.pool import Connection


class Upload(msgspec.Struct, frozen=True):
    """A device's upload of one content. `stored_ms` is when the store had it whole."""

    sha256: str
    size_bytes: int
    media_type: str
    stored_ms: int | None


BEGIN: Final = """
insert into upload (tenant_id, device_no, sha256, size_bytes, media_type, asked_ms, stored_ms)
select $1::int, $2::int, $3::text, $4::bigint, $5::text, $6::bigint, $7::bigint
where $7::bigint is not null or (
    select count(*) from upload where tenant_id = $1 and device_no = $2 and stored_ms is null and sha256 <> $3
) < $8
on conflict (tenant_id, device_no, sha256) do update
    set size_bytes = excluded.size_bytes, media_type = excluded.media_type, asked_ms = excluded.asked_ms,
        stored_ms = excluded.stored_ms
returning 1
"""
FIND: Final = "select sha256, size_bytes, media_type, stored_ms from upload where tenant_id = $1 and device_no = $2 and sha256 = $3"
STORED: Final = "update upload set stored_ms = $4 where tenant_id = $1 and device_no = $2 and sha256 = $3"
FORGET: Final = "delete from upload where tenant_id = $1 and device_no = $2 and sha256 = $3 and stored_ms is null"
STALE: Final = "select device_no, sha256 from upload where tenant_id = $1 and stored_ms is null and asked_ms < $2"
TOLD: Final = "select scope, media_type from attachment where tenant_id = $1 and sha256 = $2 order by id"


async def begin(
    connection: Connection, tenant_id: int, device_no: int, upload: Upload, *, now_ms: int, unfinished_max: int
) -> bool:
    """Note an upload, new or taken up again; False if the device has too many others unfinished."""
    made = await connection.fetchval(
        BEGIN,
        tenant_id,
        device_no,
        upload.sha256,
        upload.size_bytes,
        upload.media_type,
        now_ms,
        upload.stored_ms,
        unfinished_max,
    )
    return made is not None


async def find(connection: Connection, tenant_id: int, device_no: int, sha256: str) -> Upload | None:
    row = await connection.fetchrow(FIND, tenant_id, device_no, sha256)
    return Upload(row[0], row[1], row[2], row[3]) if row else None


async def stored(connection: Connection, tenant_id: int, device_no: int, sha256: str, now_ms: int) -> None:
    await connection.execute(STORED, tenant_id, device_no, sha256, now_ms)


async def forget(connection: Connection, tenant_id: int, device_no: int, sha256: str) -> None:
    """Drop an unfinished upload."""
    await connection.execute(FORGET, tenant_id, device_no, sha256)


async def stale(connection: Connection, tenant_id: int, before_ms: int) -> Sequence[tuple[int, str]]:
    """(device number, sha256) of uploads that nobody has asked for since."""
    return [(row[0], row[1]) for row in await connection.fetch(STALE, tenant_id, before_ms)]


async def told(connection: Connection, tenant_id: int, sha256: str) -> Sequence[tuple[str, str]]:
    """(scope, media type) of the attachment records with this content."""
    return [(row[0], row[1]) for row in await connection.fetch(TOLD, tenant_id, sha256)]
