"""Who may see what: a scope comes and goes whole, and what somebody may not see does not exist for them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from conftest import Company

from client_sdk import Closed, Replicas
from server.feed import Cursor
from server.tenants import create_tenant
from sync.entities import Account, Appointment, Asset, Lead, Site, WorkOrder, WorkOrderTask
from sync.entities.flows import AppointmentStatus as Visit
from sync.protocol import OutcomeKind
from sync.schema import REGISTRY
from tests.scenarios.field import Field, Line, Phone, make
from tests.server.wire import BareDevice

OF_A_JOB = (WorkOrder, Appointment, WorkOrderTask, Site, Asset, Account)


def tasks(order: str, count: int) -> list[dict[str, Any]]:
    return [make(WorkOrderTask(work_order=order, title=f"step {n}", position=n), f"{order}.step{n}") for n in range(count)]


def shown(phone: Phone) -> set[str]:
    """The ids of what belongs to jobs."""
    return {record_id for entity in OF_A_JOB for record_id in phone.ids(entity)}


async def test_17_reassigned(field: Field) -> None:
    """The order and what came only with it leave the first phone and are whole on the second, each in one checkpoint."""
    theo, uma = await field.technician("Theo"), await field.technician("Uma")
    await field.dispatcher.does(make(Site(account="A1", name="Annex"), "S2"), make(Asset(site="S2", name="boiler"), "X2"))
    await field.job("W1", "Theo", *tasks("W1", 8), site="S2")
    await field.job("W2", "Theo")
    await theo.sync()
    of_w2 = {"W2", "W2.visit", "S1", "A1"}
    whole = {"W1", "W1.visit", "S2", "X2", "A1", *(f"W1.step{n}" for n in range(8))}
    assert shown(theo) == whole | of_w2
    await field.dispatcher.sets(Appointment, "W1.visit", technician="Uma")
    states: dict[Phone, list[set[str]]] = {theo: [], uma: []}
    for phone, seen in states.items():

        async def look(phone: Phone = phone, seen: list[set[str]] = seen) -> None:
            seen.append(shown(phone))

        phone.line.page, phone.line.before = 3, look
        await phone.sync()
        seen.append(shown(phone))
    assert states[theo][0] == whole | of_w2
    assert states[theo][-1] == of_w2
    assert states[uma][0] == set()
    assert states[uma][-1] == whole
    assert len(states[uma]) > 3
    for seen in states.values():
        assert all(state in (seen[0], seen[-1]) for state in seen), "nobody ever saw a part of it"
    for phone in states:
        await field.holds_exactly_what_it_may(phone)


async def test_18_reachable_for_two_reasons_of_which_one_is_withdrawn(field: Field) -> None:
    """What a second reason still reaches stays, and does not even travel again."""
    theo = await field.technician("Theo")
    await field.job("W1", "Theo", make(Asset(site="S1", name="boiler"), "X2"))
    await field.job("W2", "Theo")
    await field.dispatcher.does(make(Appointment(work_order="W1", technician="Theo", status=Visit.SCHEDULED), "W1.second"))
    await theo.sync()
    theo.line.arrived()
    await field.dispatcher.sets(Appointment, "W1.visit", technician=None, status=Visit.UNSCHEDULED)
    await field.rules_are_done()
    await theo.sync()
    assert shown(theo) == {"W1", "W1.visit", "W1.second", "W2", "W2.visit", "S1", "X2", "A1"}
    assert theo.line.arrived() == {"W1.visit"}
    await field.dispatcher.sets(Appointment, "W1.second", technician=None, status=Visit.UNSCHEDULED)
    await theo.sync()
    assert shown(theo) == {"W2", "W2.visit", "S1", "X2", "A1"}, "the other order still needs the site"
    assert theo.line.arrived() == set()
    await field.holds_exactly_what_it_may(theo)


async def test_19_deleted_in_the_transaction_that_withdraws_access(field: Field) -> None:
    """The phone drops what was deleted although the same commit took away the scope by which it would have heard of it."""
    theo, uma = await field.technician("Theo"), await field.technician("Uma")
    for order in ("W1", "W2"):
        await field.job(order, "Theo", *tasks(order, 2))
    await theo.sync()
    boss = field.manager
    await boss.does(
        await boss.deleting(WorkOrderTask, "W1.step0"),
        await boss.setting(Appointment, "W1.visit", technician="Uma"),
    )
    everything = [(WorkOrderTask, "W2.step0"), (WorkOrderTask, "W2.step1"), (Appointment, "W2.visit"), (WorkOrder, "W2")]
    await boss.does(*[await boss.deleting(entity, record_id) for entity, record_id in everything])
    await theo.sync()
    assert shown(theo) == set()
    await uma.sync()
    assert shown(uma) == {"W1", "W1.visit", "W1.step1", "S1", "A1"}
    for phone in (theo, uma):
        await field.holds_exactly_what_it_may(phone)


@pytest.mark.parametrize("away", ["the phone saw it go", "the phone was offline meanwhile"])
async def test_20_access_withdrawn_and_given_back(field: Field, away: str) -> None:
    """Everything is there again, the rows that did not change meanwhile too, and what changed has its new value."""
    theo = await field.technician("Theo")
    await field.job("W1", "Theo", *tasks("W1", 4))
    await theo.sync()
    before = shown(theo)
    await field.dispatcher.sets(Appointment, "W1.visit", technician=None, status=Visit.UNSCHEDULED)
    if away == "the phone saw it go":
        await theo.sync()
        assert shown(theo) == set()
    await field.dispatcher.sets(WorkOrderTask, "W1.step2", title="changed meanwhile")
    await field.manager.does(await field.manager.deleting(WorkOrderTask, "W1.step3"))
    await field.dispatcher.sets(Appointment, "W1.visit", technician="Theo", status=Visit.DISPATCHED)
    await theo.sync()
    assert shown(theo) == before - {"W1.step3"}
    changed = theo.see(WorkOrderTask, "W1.step2")
    assert changed
    assert changed.title == "changed meanwhile"
    await field.holds_exactly_what_it_may(theo)


async def test_21_children_of_a_record_deleted_elsewhere(field: Field) -> None:
    """What was done to children of a deleted record is parked as one, and blocks nothing; restored, it is applied as one."""
    theo = await field.technician("Theo")
    await field.job("W1", "Theo", *tasks("W1", 1))
    await theo.sync()
    with theo.edit("a step more") as tx:
        tx.create(WorkOrderTask(work_order="W1", title="clean the filter"), record_id="extra")
    with theo.edit("and its note") as tx:
        tx.set(WorkOrderTask, "extra", note="was clogged")
    with theo.edit("a last step") as tx:
        tx.create(WorkOrderTask(work_order="W1", title="sweep"), record_id="last")
    with theo.edit("something else") as tx:
        tx.create(Lead(need="new filter", captured_by=(theo.user,)), record_id="L1")
    boss = field.manager
    order = await boss.see(WorkOrder, "W1")
    records = [(WorkOrderTask, "W1.step0"), (Appointment, "W1.visit"), (WorkOrder, "W1")]
    await boss.does(*[await boss.deleting(entity, record_id) for entity, record_id in records])
    await theo.sync()
    assert theo.fates() == [OutcomeKind.PARKED] * 3 + [OutcomeKind.APPLIED]
    assert (shown(theo), theo.ids(Lead)) == (set(), {"L1"})
    assert set(await boss.all(WorkOrderTask)) == set(), "no child stands without its parent"
    first, *_ = await boss.get("/v1/parked")
    assert first["transaction"]["changes"][0]["set"]["title"] == "clean the filter"
    await boss.does(make(order, "W1") | {"base": 2**50})
    answer = await boss.post(f"/v1/parked/{first['device_no']}/{first['epoch']}/{first['n']}", apply=True)
    assert answer["handled"] == [1, 2, 3]
    task = await boss.see(WorkOrderTask, "extra")
    assert (task.title, task.note) == ("clean the filter", "was clogged")
    assert set(await boss.all(WorkOrderTask)) == {"extra", "last"}
    assert await boss.get("/v1/parked") == []


async def test_22_another_user_signs_in_on_the_same_device(field: Field, tmp_path: Path) -> None:
    """The second user neither sees the first one's records nor sends the queue, which waits and goes out as the first one's."""
    line = Line(field.company.http)
    theo, uma = [await field.technician(name) for name in ("Theo", "Uma")]
    await field.job("W1", "Theo")
    await field.job("W2", "Uma")
    with Replicas(tmp_path / "tablet", transport=line, clock=field.clock) as tablet:
        first = await tablet.enrol("http://server", await field.company.code(theo.user), "tablet")
        await first.sync()
        with first.edit("before the shift ended, without signal") as tx:
            tx.create(Lead(need="secret pump", captured_by=(theo.user,)), record_id="of-theo")
        second = await tablet.enrol("http://server", await field.company.code(uma.user), "tablet")
        with pytest.raises(Closed):
            first.outbox()
        await second.sync()
        assert {item.id for item in second.query(WorkOrder)} == {"W2"}
        assert (second.query(Lead), second.outbox(), second.history()) == ([], [], [])
        with second.edit("of the second shift") as tx:
            tx.create(Lead(need="fan", captured_by=(uma.user,)), record_id="of-uma")
        await second.sync()
        assert set(await field.dispatcher.all(Lead)) == {"of-uma"}
        files = [path for path in (tmp_path / "tablet").iterdir() if uma.user in path.name]
        assert files
        assert not any(b"secret pump" in path.read_bytes() for path in files)
        assert await tablet.deliver() == {theo.user: None}
        assert (await field.dispatcher.see(Lead, "of-theo")).captured_by == (theo.user,)
        first = tablet.switch(theo.user)
        await first.sync()
        assert {item.id for entity in (WorkOrder, Lead) for item in first.query(entity)} == {"W1", "of-theo"}
        assert [sent.kind for sent in first.history()] == [OutcomeKind.APPLIED]


async def test_23_ids_of_another_tenant_in_any_field_of_any_request(field: Field, company: Company) -> None:
    """Whoever names an id of another company gets, to the letter, the answer that an id gets which nobody has."""
    theo = await field.technician("theirs.technician")
    theirs = {entity: f"theirs.{entity}" for entity in ("account", "site", "asset", "lead", "technician")}
    await field.dispatcher.does(
        make(Account(name="Hospital"), theirs["account"]),
        make(Site(account=theirs["account"], name="Wing"), theirs["site"]),
        make(Asset(site=theirs["site"], name="boiler"), theirs["asset"]),
        make(Lead(need="pump"), theirs["lead"]),
    )
    theirs |= {"work_order": "theirs.W", "appointment": await field.job("theirs.W", "theirs.technician", site=theirs["site"])}
    theirs |= {"profile": theo.user, "plan": (await field.dispatcher.post("/v1/plans", start_ms=1, end_ms=2, seconds=0.1))["id"]}
    await theo.sync()
    with theo.edit("refused, and so parked") as tx:
        tx.set(Account, "A1", credit_hold=True)
    await theo.sync()
    parked = (await field.dispatcher.get("/v1/parked"))[0]
    nobodys = {entity: record_id.replace("theirs", "absent") for entity, record_id in theirs.items()}
    nobodys |= {"profile": "0" * 26, "plan": "1" * 26}
    code = (await company.code(theo.user)).partition("-")[2]
    cursor, (_, _, *secrets) = theo.replica.status().cursor or "", field.dispatcher.device.me.token.split(".")
    answers = []
    for ids, spare in (
        (theirs, {"cursor": cursor, "code": code, "token": ".".join(secrets)}),
        (nobodys, {"cursor": Cursor("nowhere", 1).encode(), "code": "0" * len(code), "token": "0.0"}),
    ):
        stranger = Stranger(await _a_company_like_it(company), ids | spare, parked)
        await stranger.tries_everything()
        answers.append(stranger.answers)
    assert len(answers[0]) > 200
    assert [pair for pair in zip(*answers, strict=True) if pair[0] != pair[1]] == []
    assert (await field.dispatcher.see(Account, theirs["account"])) == Account(name="Hospital")


async def _a_company_like_it(company: Company) -> Company:
    """A company that has nothing but its people, for each attempt a fresh one."""
    context = company.context
    return Company(context, company.http, await create_tenant(context, f"strangers-{context.new_id()}"))


class Stranger:
    """An administrator and a technician of one company who put the ids they are given wherever a request takes one."""

    def __init__(self, company: Company, ids: dict[str, str], parked: Mapping[str, Any]) -> None:
        self.company, self.ids, self.parked = company, ids, parked
        self.answers: list[tuple[str, int, str]] = []

    async def tries_everything(self) -> None:
        for role in ("administrator", "technician"):
            device = BareDevice(self.company.http, await self.company.enrol(await self.company.user("Eve", role)))
            for place, change in self._changes(role):
                outcome = await device.push(change)
                self._note(place, len(outcome.conflicts), msgspec.json.encode((outcome.kind, outcome.reasons)))
            for place, reply in await self._asks(device):
                self._note(place, reply.status_code, reply.content.partition(b'"taken"')[2] or reply.content)

    def _note(self, place: str, status: int, answer: bytes) -> None:
        """What was answered, without the ids and what differs between any two companies."""
        text = answer.decode()
        for name in self.ids.values():
            text, place = text.replace(name, "…"), place.replace(name, "…")
        self.answers.append((place, status, re.sub(r'"cursor":"[^"]*"', "", text)))

    def _changes(self, role: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each record set, deleted and made; each field that refers to one; each scope that a record may name."""
        for entity in sorted(self.ids.keys() & REGISTRY.keys()):
            change = {"entity": entity, "id": self.ids[entity], "base": 1}
            yield f"{role} sets {entity}", change | {"set": {}}
            yield f"{role} deletes {entity}", change | {"delete": True}
        for spec in REGISTRY.values():
            for field in spec.references:
                named = {field.name: self.ids.get(field.refers or "", "nothing")}
                change = {"entity": spec.name, "id": f"{role}.{spec.name}.{field.name}", "set": named}
                yield f"{role} refers {spec.name}.{field.name}", change
                yield f"{role} makes {spec.name}.{field.name}", change | {"create": True}
        for kind in ("account", "site", "work_order", "technician", "lead", "profile"):
            scope = f"{kind.replace('profile', 'user')}:{self.ids[kind]}"
            file = {"parent_entity": "site", "parent": self.ids["site"], "sha256": "0" * 64, "size_bytes": 1, "media_type": "x"}
            yield f"{role} files in {kind}", _new("attachment", f"{role}.{kind}", scope=scope, **file)
            move = {"product": "X1", "quantity": 1, "reason": "received", "at": 1}
            yield f"{role} moves to {kind}", _new("stock_move", f"{role}.{kind}", location=scope, **move)

    async def _asks(self, device: BareDevice) -> list[tuple[str, httpx.Response]]:
        ids, http, parked = self.ids, self.company.http, self.parked
        mine = {"authorization": f"Bearer {device.me.token}"}
        gets = [f"/v1/records/{entity}/{ids[entity]}" for entity in sorted(ids.keys() & REGISTRY.keys())]
        gets += [f"/v1/users/{ids['profile']}/holdings", f"/v1/plans/{ids['plan']}"]
        where = f"/v1/parked/{parked['device_no']}/{parked['epoch']}/{parked['n']}"
        code = f"{self.company.tenant_id}-{ids['code']}"
        posts = [("/v1/enrolments", {"user": ids["profile"]}), (where, {"apply": True}), ("/v1/enrol", {"code": code})]
        asked = [(path, await http.get(path, headers=mine)) for path in gets]
        asked += [(path, await http.post(path, json=body, headers=mine)) for path, body in posts]
        scopes = {f"{kind}:{ids[kind]}": "00" for kind in ("work_order", "site", "account", "technician", "lead")}
        for over in ({"cursor": ids["cursor"]}, {"digests": scopes}):
            asked.append((f"sync {list(over)}", await device.post(msgspec.json.encode({"epoch": 1, "sent_ms": 1} | over))))
        borrowed = {"authorization": f"Bearer tr1.{self.company.tenant_id}.{ids['token']}"}
        return [*asked, ("token", await http.post("/v1/sync", content=b"{}", headers=borrowed))]


def _new(entity: str, record_id: str, **fields: Any) -> dict[str, Any]:
    return {"entity": entity, "id": record_id, "create": True, "set": fields}
