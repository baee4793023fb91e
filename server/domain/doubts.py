"""What a rule doubts of something that people did. It is never refused: it stands, and a conflict asks the office to look at it.

A doubt about a record is one conflict, named by record and policy. It is opened when the state calls for it and settled when the
state no longer does; what a person resolved stays resolved.
"""

from collections.abc import Iterable

import msgspec

from server.author import create, update
from server.domain.event import Event
from sync.codec import decode_versions
from sync.entities.flows import ConflictStatus
from sync.merge import EXISTENCE, Version
from sync.policies import Side
from sync.protocol import Change
from sync.schema import REGISTRY


async def doubt(event: Event, policy: str, field: str, words: str) -> Iterable[Change]:
    """The change that opens, reopens or settles a doubt about the event's record; no words, no doubt."""
    spec = REGISTRY[event.entity]
    held = await event.tenant.record("conflict", doubt_id(event.id, policy))
    if held is None:
        about = {"scope": spec.scope_of(event.id, event.fields), "subject_entity": event.entity, "subject": event.id}
        said = {"policy": policy, "kept": event.fields.get(field), "held": words, "held_by": "the server's rules"}
        return (create("conflict", doubt_id(event.id, policy), **about, field=field, **said, at=event.now_ms),) if words else ()
    found = msgspec.json.decode(held.fields)
    status = found.get("status", ConflictStatus.OPEN)
    if status == ConflictStatus.OPEN and not words:
        return (update("conflict", held.id, held.seq, status=ConflictStatus.SETTLED),)
    if status == ConflictStatus.SETTLED and words:
        return (update("conflict", held.id, held.seq, status=ConflictStatus.OPEN, held=words),)
    if status == ConflictStatus.OPEN and found["held"] != words:
        return (update("conflict", held.id, held.seq, held=words),)
    return ()


async def cleared(event: Event, policy: str) -> bool:
    """Whether somebody in the office has resolved this doubt; that the author of the deed resolves it does not clear it."""
    held = await event.tenant.record("conflict", doubt_id(event.id, policy))
    if held is None or msgspec.json.decode(held.fields).get("status") != ConflictStatus.RESOLVED:
        return False
    written = await written_by(event, "conflict", held.id, "status")
    return written is not None and written.side is Side.OFFICE


async def written_by(event: Event, entity: str, record_id: str, field: str) -> Version | None:
    """Who wrote a field last, and when; of a field that nobody wrote, who created the record."""
    row = await event.tenant.raw_record(entity, record_id)
    if row is None:
        return None
    versions = decode_versions(row.ver, row.seq)[0]
    return versions.get(REGISTRY[entity].fields[field].index) or versions.get(EXISTENCE)


def doubt_id(record_id: str, policy: str) -> str:
    return f"{record_id}.{policy}"
