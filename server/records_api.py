"""Writing records over the REST API: one or many, by their id or by the id that another system gives them, through the one door.

Each item stands alone. What a caller wants is compared with what stands (`server.desired`), and written on that version: if the
record moved meanwhile, it is compared again, unless the caller named the version that it saw.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

import msgspec

from server.author import write_for
from server.context import Context
from server.desired import Standing, wanted
from server.devices import Admitted
from server.problems import ProblemError
from server.storage import records
from server.storage.office import Tenant
from sync.merge import Refused
from sync.protocol import Change, Outcome, OutcomeKind, Reason
from sync.schema import REGISTRY, EntitySpec, Id

MAX_BULK: Final = 500
ROUNDS: Final = MAX_BULK + 20
"""Items of one bulk that name the same record are written one after the other; a record that others write moves now and then."""

How: TypeAlias = Literal["create", "update", "upsert"]
_STATUS: Final = {"unknown_entity": 404, "not_found": 404, "writer": 403, "moved": 412, "json": 400} | dict.fromkeys(
    ("lifecycle", "frozen", "deleted", "append_only", "exists", "ambiguous"), 409
)


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One record as it shall be, named by its `id` or its `external_id`, or new.

    `base` is the version (seq) that the caller saw; 0: there was none.
    """

    id: Id | None = None
    external_id: str | None = None
    base: int | None = None
    fields: dict[str, Any] = {}
    delete: bool = False


class Done(msgspec.Struct, frozen=True):
    """What became of an item: 201 made, 200 changed or as wanted already, 204 deleted; and the record's seq."""

    status: int
    id: str
    seq: int


class _Work(msgspec.Struct, frozen=True):
    at: int
    id: str
    is_new: bool
    change: Change


def problem_of(reason: Reason | Refused) -> ProblemError:
    """A refusal of the door as a problem document."""
    status = _STATUS.get(reason.rule, 422)
    title = {403: "Not for this role", 404: "There is no such record", 412: "The record has changed"}.get(
        status, "The record does not fit"
    )
    return ProblemError(status, title, reason.detail, field=reason.field, rule=reason.rule)


def spec_named(entity: str) -> EntitySpec:
    spec = REGISTRY.get(entity)
    if spec is None:
        raise ProblemError(404, "There is no such entity", entity, field="entity", rule="unknown_entity")
    return spec


def derived_id(entity: str, *parts: str) -> str:
    """An id that follows from a name, so that two who make the same thing at once make one."""
    return f"x.{sha256(chr(0).join((entity, *parts)).encode()).hexdigest()[:24]}"


async def write_items(
    context: Context,
    device: Admitted,
    spec: EntitySpec,
    items: Sequence[Item],
    *,
    how: How = "upsert",
    key: str = "",
    redone: bool = False,
) -> list[Done | ProblemError]:
    """Bring each item about; the answers in their order.

    `key` names the request: what it creates without an id gets one that follows from it. A request that is `redone` may have been
    written the first time; then what stands already is its answer.
    """
    writing = _Writing(context, device, spec, items, how, key, redone=redone)
    for _ in range(ROUNDS):
        if not await writing.round():
            break
    busy = ProblemError(503, "The record keeps changing", "send the same again", rule="busy")
    return [writing.done.get(at, busy) for at in range(len(items))]


class _Writing:
    """Items on their way, round after round."""

    def __init__(
        self, context: Context, device: Admitted, spec: EntitySpec, items: Sequence[Item], how: How, key: str, *, redone: bool
    ) -> None:
        self._context, self._device, self._spec, self._items = context, device, spec, items
        self._how, self._key, self._redone = how, key, redone
        self._foreign: Mapping[tuple[str, str], list[str]] = {}
        self.done: dict[int, Done | ProblemError] = {}

    async def round(self) -> bool:
        """Write what waits, at most one item a record; whether something was to be written."""
        async with self._context.office.of(self._device.tenant_id) as tenant:
            work = await self._look(tenant)
        if not work:
            return False
        label = f"REST: {self._spec.name}"
        author = self._device.author
        committed = await write_for(
            self._context,
            self._device.tenant_id,
            author.user,
            author.role,
            [(label, (one.change,)) for one in work],
            strict=True,
        )
        for one, outcome in zip(work, committed.outcomes, strict=True):
            if answer := _answer(one, self._items[one.at], outcome):
                self.done[one.at] = answer
        return True

    async def _look(self, tenant: Tenant) -> list[_Work]:
        waiting = [at for at in range(len(self._items)) if at not in self.done]
        said = [pair for at in waiting for pair in _foreign(self._spec, self._items[at])]
        self._foreign = await records.by_external_ids(tenant, said)
        named: dict[int, str] = {}
        for at in waiting:
            try:
                named[at] = self._id_of(at)
            except Refused as refused:
                self.done[at] = problem_of(refused)
        stand = await records.standing(tenant, self._spec.name, set(named.values()))
        work: dict[str, _Work] = {}
        for at, record_id in named.items():
            if record_id in work:
                continue  # it is written on what this one makes of it
            try:
                found = self._change(self._items[at], record_id, stand.get(record_id))
            except Refused as refused:
                self.done[at] = problem_of(refused)
                continue
            if isinstance(found, Done):
                self.done[at] = found
            else:
                is_new = record_id not in stand or stand[record_id].deleted
                work[record_id] = _Work(at, record_id, is_new, found)
        return list(work.values())

    def _id_of(self, at: int) -> str:
        item, spec = self._items[at], self._spec
        if item.id is not None:
            return item.id
        if item.external_id is not None and ("external_id" not in spec.fields or not item.external_id):
            raise Refused("external_id", f"a {spec.name} has none" if item.external_id else "it is empty", "external_id")
        said = item.external_id or item.fields.get("external_id")
        if not isinstance(said, str) or not said or "external_id" not in spec.fields:
            return derived_id(spec.name, f"{self._key}.{at}") if self._key else self._context.new_id()
        held = self._foreign.get((spec.name, said), [])
        if len(held) > 1:
            raise Refused("ambiguous", f"{len(held)} records have the external id {said}: {', '.join(held[:5])}", "external_id")
        return held[0] if held else derived_id(spec.name, said)

    def _change(self, item: Item, record_id: str, stands: Standing | None) -> Change | Done:
        """The change that an item asks for, or what it is if nothing needs to change."""
        spec, live = self._spec, stands is not None and not stands.deleted
        seq = stands.seq if stands else 0
        if not live and (item.delete or self._how == "update"):
            if item.delete and stands is not None:
                return Done(204, record_id, seq)
            raise Refused("not_found", f"there is no {spec.name} {item.external_id or record_id}")
        if live and self._how == "create" and not self._redone:
            raise Refused(
                "exists", f"there is a {spec.name} {record_id} already", "external_id" if item.fields.get("external_id") else "id"
            )
        change = (
            Change(spec.name, record_id, base=seq, delete=True)
            if item.delete
            else wanted(spec, record_id, stands, self._fields(item))
        )
        if change is None and self._redone:
            return Done(200, record_id, seq)
        if item.base is not None and item.base != (seq if live else 0):
            raise Refused("moved", f"it is at version {seq if live else 0}, not {item.base}", "base")
        return Done(200, record_id, seq) if change is None else change

    def _fields(self, item: Item) -> dict[str, Any]:
        """The item's fields, references by external id resolved."""
        fields = item.fields if item.external_id is None else {"external_id": item.external_id} | item.fields
        for name, (entity, part) in _references(self._spec, fields).items():
            held = self._foreign.get((entity, part["external_id"]), [])
            if len(held) != 1:
                detail = f"{len(held) or 'no'} {entity} with the external id {part['external_id']}"
                raise Refused("ambiguous" if held else "reference", detail, name)
            fields = fields | {name: held[0]}
        return fields


def _answer(work: _Work, item: Item, outcome: Outcome) -> Done | ProblemError | None:
    """None if it must be looked at again."""
    if outcome.kind is OutcomeKind.PARKED:
        reason = outcome.reasons[0]
        return None if reason.rule == "moved" and item.base is None else problem_of(reason)
    return Done(204 if work.change.delete else 201 if work.is_new else 200, work.id, outcome.seq)


def _foreign(spec: EntitySpec, item: Item) -> list[tuple[str, str]]:
    """Every (entity, external id) that an item names: itself, and what its fields refer to as `{"external_id": …}`."""
    said = item.external_id or item.fields.get("external_id")
    own = [(spec.name, said)] if isinstance(said, str) and "external_id" in spec.fields else []
    there = [(name, part["external_id"]) for name, part in _references(spec, item.fields).values()]
    return own + there


def _references(spec: EntitySpec, fields: Mapping[str, Any]) -> dict[str, tuple[str, Mapping[str, str]]]:
    """By field, the entity that it refers to and the object that names a record of it by its external id."""
    return {
        field.name: (field.refers, value)
        for field in spec.references
        if field.refers and isinstance(value := fields.get(field.name), dict) and isinstance(value.get("external_id"), str)
        if "external_id" in REGISTRY[field.refers].fields
    }
