"""An additive digest per scope: equal on both sides exactly when both hold the same records at the same versions.

The digest of a record is the first 8 bytes of sha256 of `entity/id/seq`, read big-endian; that of a scope the sum over its live
records modulo 2**64, written as 16 hex digits. Sums commute, so either side may keep it up record by record.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

MODULUS: Final = 2**64


def record_digest(entity: str, record_id: str, seq: int) -> int:
    return int.from_bytes(sha256(f"{entity}/{record_id}/{seq}".encode()).digest()[:8])


def scope_digest(records: Iterable[tuple[str, str, int]]) -> str:
    """The digest of a scope's live records, given as (entity, id, seq).

    >>> scope_digest([])
    '0000000000000000'
    >>> scope_digest([("site", "S1", 7)])
    '33f9c6f5fd3953e1'
    """
    return render(sum(record_digest(*record) for record in records))


def render(total: int) -> str:
    """A sum of record digests as it travels."""
    return f"{total % MODULUS:016x}"
