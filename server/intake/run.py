"""The import at work: rows looked up against what is held, and written through the one door, a batch a commit.

Every record has an id that follows from its key, and what already stands as the row says is left alone: an import that was cut
short is simply run again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby, islice
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from server.author import create, update, write_for
from server.context import Context
from server.intake.incoming import (
    NATURAL_KEYS,
    REFERENCED_BY_NAME,
    Incoming,
    Report,
    difference,
    id_of,
    natural_key,
    plain,
)
from server.storage.office import SERVER_USER, Tenant
from server.storage.tables import app_user, projections
from sync.policies import Role
from sync.protocol import Change, OutcomeKind
from sync.schema import REGISTRY

BATCH: Final = 200
REFERS: Final[Mapping[tuple[str, str], str]] = {
    ("opportunity", "owner"): "profile",
    ("account", "owner"): "profile",
    ("profile", "manager"): "profile",
}
"""References to people, which the declaration leaves open."""

Progress = Callable[[int, Report], None]


class Directory:
    """Records of one entity by their ids, external ids and names, as far as this import asked for them.

    Names of two records that read alike lead nowhere: `find` then says so.
    """

    def __init__(self, entity: str) -> None:
        self.entity = entity
        self._by_id: dict[str, str] = {}
        self._external: dict[str, str] = {}
        self._names: dict[str, str | None] = {}
        self._keys: dict[tuple[str, ...], str | None] = {}

    async def load(self, tenant: Tenant) -> None:
        table = projections[self.entity].c
        wanted = {"external_id", *NATURAL_KEYS.get(self.entity, ()), *REFERENCED_BY_NAME.get(self.entity, ("name",))}
        columns = [table[name] for name in sorted(wanted) if name in table]
        query = sa.select(table.id, *columns).where(table.tenant_id == tenant.tenant_id)
        for row in await tenant.connection.execute(query):
            self.note(row.id, {column.name: getattr(row, column.name) for column in columns})

    def note(self, record_id: str, body: Mapping[str, Any]) -> None:
        self._by_id[record_id] = str(body.get("name") or body.get("external_id") or record_id)
        if body.get("external_id"):
            self._external[body["external_id"]] = record_id
        for name in REFERENCED_BY_NAME.get(self.entity, ("name",)):
            if body.get(name):
                self._put(self._names, plain(body[name]), record_id)
        key = natural_key(self.entity, body)
        if key is not None:
            self._put(self._keys, key, record_id)

    @staticmethod
    def _put(index: dict[Any, str | None], key: Any, record_id: str) -> None:
        index[key] = record_id if index.get(key, record_id) == record_id else None

    def find(self, said: str) -> tuple[str | None, str]:
        """The record that a reference means, and how it was found: "id", "external_id", "name", "ambiguous" or "unknown"."""
        if said in self._external:
            return self._external[said], "external_id"
        if said in self._by_id:
            return said, "id"
        if plain(said) in self._names:
            found = self._names[plain(said)]
            return found, "name" if found else "ambiguous"
        return None, "unknown"

    def label(self, record_id: str) -> str:
        """What a record is called."""
        return self._by_id[record_id]

    def match(self, row: Incoming, fields: Mapping[str, Any]) -> tuple[str | None, bool]:
        """The held record that a row speaks of, if any; and whether several would fit."""
        if row.record_id in self._by_id:
            return row.record_id, False
        if fields.get("external_id") in self._external:
            return self._external[fields["external_id"]], False
        key = natural_key(self.entity, fields)
        if fields.get("external_id") or key not in self._keys:
            return None, False
        return self._keys[key], self._keys[key] is None


class Importer:
    """Takes incoming records into one tenant; see the module."""

    def __init__(self, context: Context, tenant_id: int, *, dry_run: bool = False, on_progress: Progress | None = None) -> None:
        self._context, self._tenant_id, self._on_progress = context, tenant_id, on_progress
        self.report = Report(dry_run=dry_run)
        self._directories: dict[str, Directory] = {}
        self._seen: dict[tuple[str, str], int] = {}

    async def take(self, rows: Iterable[Incoming]) -> Report:
        """Import all rows in their order: what is referred to stands before what refers to it."""
        done = 0
        for batch in _batches(rows):
            await self._take_batch(batch[0].entity, batch)
            done += len(batch)
            if self._on_progress is not None:
                self._on_progress(done, self.report)
        return self.report

    async def _take_batch(self, entity: str, batch: list[Incoming]) -> None:
        tally = self.report.tally(entity)
        tally.read += len(batch)
        work: list[tuple[Incoming, str, dict[str, Any]]] = []
        async with self._context.office.of(self._tenant_id) as tenant:
            directory = await self._directory(tenant, entity)
            for row in batch:
                fields = await self._resolved(tenant, row)
                if fields is None:
                    continue
                record_id, several = directory.match(row, fields)
                record_id = record_id or row.record_id or id_of(entity, fields)
                if several:
                    self.report.reject(row, f"several records of {entity} are called the same; give an id or an external id")
                elif record_id is None:
                    keys = " and ".join(NATURAL_KEYS.get(entity, ("external_id",)))
                    self.report.reject(row, f"nothing tells this {entity} apart: it needs an external_id, or {keys}")
                elif (entity, record_id) in self._seen:
                    self.report.reject(row, f"the same {entity} stands in line {self._seen[entity, record_id]}")
                else:
                    self._seen[entity, record_id] = row.line
                    self.report.left_open.update(f"{entity}.{name}" for name in row.left_open)
                    if entity == "profile":
                        self.report.people[fields.get("role", "")] += 1
                    directory.note(record_id, fields)
                    work.append((row, record_id, fields))
            changes = await self._changes(tenant, entity, work)
            if entity == "profile" and not self.report.dry_run:
                await _add_users(tenant, [(row_id, fields) for _, row_id, fields in work])
        if changes and not self.report.dry_run:
            await self._write(entity, changes)

    async def _changes(
        self, tenant: Tenant, entity: str, work: list[tuple[Incoming, str, dict[str, Any]]]
    ) -> list[tuple[Incoming, Change]]:
        held = {one.id: one for one in await tenant.some(entity, [record_id for _, record_id, _ in work])}
        tally, changes = self.report.tally(entity), []
        for row, record_id, fields in work:
            if record_id not in held:
                missing = [f.name for f in REGISTRY[entity].fields.values() if f.required and f.name not in fields]
                if missing:
                    self.report.reject(row, f"a new {entity} needs {', '.join(missing)}")
                    continue
                tally.created += 1
                changes.append((row, create(entity, record_id, **fields)))
                continue
            differs = difference(entity, msgspec.json.decode(held[record_id].fields), fields)
            if differs:
                tally.changed += 1
                changes.append((row, update(entity, record_id, held[record_id].seq, **differs)))
            else:
                tally.unchanged += 1
        return changes

    async def _write(self, entity: str, changes: list[tuple[Incoming, Change]]) -> None:
        """Each row is a transaction of its own, so that one that a rule refuses leaves the others."""
        work = [(f"{row.source}:{row.line}", (change,)) for row, change in changes]
        committed = await write_for(self._context, self._tenant_id, SERVER_USER, Role.SERVER, work)
        tally = self.report.tally(entity)
        for (row, change), outcome in zip(changes, committed.outcomes, strict=True):
            if outcome.kind is OutcomeKind.PARKED:
                if change.create:
                    tally.created -= 1
                else:
                    tally.changed -= 1
                self.report.reject(
                    row, "; ".join(f"{reason.field or reason.entity}: {reason.detail}" for reason in outcome.reasons)
                )

    async def _resolved(self, tenant: Tenant, row: Incoming) -> dict[str, Any] | None:
        """The row's fields with references as ids; None once it is rejected."""
        fields = dict(row.fields)
        for name, said in row.references.items():
            target = REGISTRY[row.entity].fields[name].refers or REFERS[row.entity, name]
            directory = await self._directory(tenant, target)
            found, how = directory.find(said)
            if found is None:
                words = "means several records" if how == "ambiguous" else "is unknown"
                self.report.reject(row, f"{name}: the {target} {said!r} {words}")
                return None
            if how == "name":
                self.report.taken[f"{row.entity}.{name}", said, directory.label(found)] += 1
            fields[name] = found
        return fields

    async def _directory(self, tenant: Tenant, entity: str) -> Directory:
        if entity not in self._directories:
            self._directories[entity] = Directory(entity)
            await self._directories[entity].load(tenant)
        return self._directories[entity]


def _batches(rows: Iterable[Incoming]) -> Iterator[list[Incoming]]:
    """Rows of one entity together, at most `BATCH` of them; nobody in a batch refers to another one of it but people to people."""
    for _, run in groupby(rows, key=lambda row: (row.entity, bool(row.references) if row.entity == "profile" else False)):
        while batch := list(islice(run, BATCH)):
            yield batch


async def _add_users(tenant: Tenant, people: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """A profile is somebody who may enrol a device."""
    for user_id, fields in people:
        values = {"name": fields["name"], "role": fields.get("role", Role.REP), "territories": fields.get("territories", [])}
        found = await tenant.user(user_id)
        if found is None:
            await tenant.add_user(user_id, values["name"], values["role"], values["territories"])
        elif (found.name, found.role, sorted(found.territories)) != (values["name"], values["role"], sorted(values["territories"])):
            mine = (app_user.c.tenant_id == tenant.tenant_id, app_user.c.id == user_id)
            await tenant.connection.execute(sa.update(app_user).where(*mine).values(**values))
