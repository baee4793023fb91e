"""Conflicts are records like any other: they travel to whoever holds the record in question, and a change resolves them."""

from typing import Annotated

from sync.entities.flows import CONFLICT, ConflictStatus
from sync.policies import NOBODY, PEOPLE, fixed, last_writer, lifecycle, server_only
from sync.schema import Code, Entity, Id, Instant, Json, Name, named_by


class Conflict(Entity, scope=named_by("scope"), create=NOBODY):
    """Two authors meant different things of one field. `kept` is what stands, `held` what does not; nothing is lost.

    `settled` ones were decided by the field's policy, `open` ones wait for a person, who resolves them by an ordinary change.
    """

    scope: Annotated[Id, fixed()]
    subject_entity: Annotated[Code, fixed()]
    subject: Annotated[Id, fixed()]
    field: Annotated[Name, fixed()]
    policy: Annotated[Code, server_only()] = ""
    kept: Annotated[Json, server_only()] = None
    held: Annotated[Json, server_only()] = None
    held_by: Annotated[Name, server_only()] = ""
    at: Annotated[Instant | None, server_only()] = None
    status: Annotated[ConflictStatus, lifecycle(CONFLICT, PEOPLE)] = ConflictStatus.OPEN
    resolution: Annotated[Name, last_writer()] = ""
