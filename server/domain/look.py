"""A record as it stands, with who wrote what of it and when."""

from typing import Any

import msgspec

from server.domain.business_hours import ALWAYS, Hours, Misread, hours_of
from server.storage.office import Tenant
from sync.clock import wall_ms
from sync.codec import decode_versions
from sync.merge import EXISTENCE, Version
from sync.schema import REGISTRY


class Seen(msgspec.Struct, frozen=True):
    """A live record: `seq` is the base of changes to it."""

    entity: str
    id: str
    seq: int
    fields: dict[str, Any]
    versions: dict[int, Version]

    def get(self, field: str) -> Any:
        """The field's value; its declared default where the body leaves it out."""
        default = REGISTRY[self.entity].fields[field].default
        return self.fields.get(field, list(default) if isinstance(default, tuple) else default)

    def version(self, field: str) -> Version:
        """Who wrote the field last; if nobody has, who created the record."""
        return self.versions.get(REGISTRY[self.entity].fields[field].index) or self.versions[EXISTENCE]

    def at_ms(self, field: str) -> int:
        """When its author wrote the field, by the corrected clock."""
        return wall_ms(self.version(field).stamp)

    @property
    def created_ms(self) -> int:
        return wall_ms(self.versions[EXISTENCE].stamp)

    def differing(self, **wanted: Any) -> dict[str, Any]:
        """Those of the wanted values that the record does not have."""
        return {name: value for name, value in wanted.items() if self.get(name) != value}


async def look(tenant: Tenant, entity: str, record_id: str | None) -> Seen | None:
    """None if there is no such record, or it was deleted."""
    row = await tenant.raw_record(entity, record_id) if record_id else None
    if row is None or row.deleted:
        return None
    return Seen(entity, row.id, row.seq, msgspec.json.decode(row.body), decode_versions(row.ver, row.seq)[0])


async def hours_by_id(tenant: Tenant, hours_id: str | None) -> Hours:
    """The hours of a record; always open if there is none, or if it cannot be read."""
    seen = await look(tenant, "business_hours", hours_id)
    try:
        return hours_of(seen.fields) if seen else ALWAYS
    except Misread:
        return ALWAYS
