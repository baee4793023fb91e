"""Crews and optional visits between records and the planner's problem, without a database."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from dispatch import Plan
from dispatch.plan import Route, Score, Stop, Unserved
from dispatch.problem import Job
from server.publishing import _places
from server.translate import HOUR_CENTS, Day, Question, crew_of, question
from server.translate_back import changes, standing

HOUR_MS = 3_600_000
HERE = {"lat": 36.1, "lon": -86.7}


def technician(id_: str, **more: Any) -> Any:
    fields = {"home": HERE, "active": True, "tools": (), "territories": (), "speed_factor": 1.0, "cost_hour_cents": 0}
    return SimpleNamespace(id=id_, **fields | more)


def order(**more: Any) -> Any:
    fields = {"id": "W", "site": "S", "priority": 3, "due": None, "skill": "", "skill_level": 1, "parts": None, "tools": ()}
    # What was there before the columns were is null in them.
    return SimpleNamespace(**fields | {"crew": None, "optional": None, "value_cents": None, "lead": None} | more)


def visit(**more: Any) -> Any:
    empty = dict.fromkeys(("technician", "planned_start", "planned_end", "earliest", "due", "promised_from", "promised_to"))
    fields = {"id": "P", "work_order": "W", "status": "unscheduled", "duration_s": 3600, "pinned": False, "actual": ()}
    return SimpleNamespace(**empty | fields | {"follows": None, "fetch_at": None, "travel_s": 0, "mates": None} | more)


def day(one: Any, of: Any, **more: Any) -> Day:
    """A day of eight hours of three technicians, with one visit."""
    return Day(
        0,
        24 * HOUR_MS,
        0,
        [one],
        {of.id: of},
        {"S": SimpleNamespace(id="S", position=HERE, located="")},
        more.pop("technicians", [technician(f"T{n}") for n in (1, 2, 3)]),
        [],
        [
            SimpleNamespace(
                technician=f"T{n}", start=8 * HOUR_MS, end=16 * HOUR_MS, break_s=0, break_earliest=None, break_latest=None
            )
            for n in (1, 2, 3)
        ],
        {one.id: 7},
        **more,
    )


def job(one: Any, of: Any, **more: Any) -> Job:
    return question(day(one, of, **more)).problem.job("P")


def plan(*members: str, fetching: str = "", depot: int = -1) -> Plan:
    """Visit P made by these at nine; one of them calls at a depot on the way."""
    routes, start_s = [], 9 * 3600
    for at, worker in enumerate(members):
        stop = Stop(job="P", place=0, arrival_s=start_s, start_s=start_s, end_s=start_s + 3600 + 60 * at, travel_s=100 + at)
        calls = [Stop(kind="depot", place=depot, arrival_s=0, start_s=0, end_s=0)] if worker == fetching else []
        whole = {"start_s": 8 * 3600, "end_s": 17 * 3600, "travel_s": 0, "distance_m": 0, "duty_s": 0}
        routes.append(Route(worker=worker, shift=0, stops=(*calls, stop), **whole))
    left = () if members else (Unserved(job="P", rule="crew", words="nobody"),)
    return Plan(routes=tuple(routes), unserved=left, score=Score(promises=0, unserved=(), late=0, moves=0, cost=0))


def written(one: Any, of: Any, made: Plan, asked: Question | None = None) -> dict[str, Any]:
    world = day(one, of)
    found = [msgspec.json.decode(change.set) for change in changes(world, asked or question(world), made)]
    assert len(found) <= 1
    return found[0] if found else {}


def test_the_order_says_how_many_go_together() -> None:
    assert job(visit(), order()).crew == 1
    assert job(visit(), order(crew=3)).crew == 3
    unpinned = visit(technician="T1", mates=["T2", "T3"], status="scheduled", planned_start=9 * HOUR_MS)
    assert job(unpinned, order(crew=2)).crew == 2, "the order counts, not how many were planned before"


def test_a_pinned_crew_goes_as_it_stands() -> None:
    pinned = {"technician": "T2", "planned_start": 9 * HOUR_MS, "pinned": True, "status": "scheduled"}
    found = job(visit(mates=["T3"], **pinned), order())
    assert (found.crew, found.pinned_worker, found.excluded) == (2, "T2", frozenset({"T1"}))
    found = job(visit(mates=["T3"], **pinned), order(crew=3))
    assert (found.crew, found.pinned_worker, found.excluded) == (3, "T2", frozenset()), "somebody is still to be found"
    assert job(visit(**pinned), order()).excluded == frozenset()


def test_everyone_of_a_crew_is_told_where_they_were_sent() -> None:
    sent = visit(technician="T2", mates=["T3", "T1", "T2", "gone"], status="dispatched", planned_start=9 * HOUR_MS)
    assert crew_of(sent) == ("T2", "T1", "T3", "gone")
    told = question(day(sent, order(crew=3))).problem.published
    assert [(entry.worker, entry.start_s) for entry in told] == [(f"T{n}", 9 * 3600) for n in (2, 1, 3)]
    assert {route.worker for route in standing(day(sent, order(crew=3))).routes} == {"T1", "T2", "T3", "gone"}


def test_a_crew_under_way_is_where_it_is() -> None:
    begun = visit(technician="T2", mates=["T3"], status="in_progress", planned_start=9 * HOUR_MS)
    asked = question(day(begun, order(crew=2)))
    facts = {j.id: (j.fact.worker, j.fact.start_s) for j in asked.problem.jobs if j.fact is not None}
    assert facts == {"P": ("T2", 9 * 3600), "P of T3": ("T3", 9 * 3600)}
    assert asked.mates == {"P of T3": "P"}
    there = plan("T2", "T3")
    named = msgspec.structs.replace(there.routes[1], stops=(msgspec.structs.replace(there.routes[1].stops[0], job="P of T3"),))
    raw = msgspec.structs.replace(there, routes=(there.routes[0], named))
    assert asked.told(raw) == there
    assert written(begun, order(crew=2), raw, asked) == {}, "what has begun is nobody's to change"
    without_lead = question(day(begun, order(crew=2), technicians=[technician("T3")]))
    assert [j.fact.worker for j in without_lead.problem.jobs if j.fact is not None] == ["T3"]


def test_a_plan_writes_the_whole_crew() -> None:
    fields = written(visit(), order(crew=3), plan("T3", "T1", "T2"))
    assert (fields["technician"], fields["mates"], fields["status"]) == ("T3", ["T1", "T2"], "scheduled")
    assert (fields["planned_start"], fields["planned_end"]) == (9 * HOUR_MS, 10 * HOUR_MS + 120_000), "until the slowest is done"


def test_who_led_goes_on_leading_and_nothing_is_written_twice() -> None:
    stood = {
        "technician": "T2", "mates": ["T3"], "status": "scheduled", "planned_start": 9 * HOUR_MS,
        "planned_end": 10 * HOUR_MS + 60_000, "travel_s": 101,
    }  # fmt: skip
    assert written(visit(**stood), order(crew=2), plan("T3", "T2")) == {}
    assert written(visit(**stood), order(crew=2), plan("T1", "T2")) == {"mates": ["T1"]}
    alone = written(visit(**stood), order(), plan("T2"))
    assert alone["mates"] == [], "an order that takes one alone sends the mates elsewhere"
    assert written(visit(**stood), order(crew=2), plan()) == {
        "technician": None, "planned_start": None, "status": "unscheduled", "mates": [],
    }  # fmt: skip


def test_a_mate_may_be_the_one_who_calls_at_the_depot() -> None:
    lifting = order(crew=2, tools=("hoist",))
    world = day(visit(), lifting, depots=[SimpleNamespace(id="D", position=HERE)])
    asked = question(world)
    (change,) = changes(world, asked, plan("T1", "T2", fetching="T2", depot=asked.problem.depots[0]))
    assert msgspec.json.decode(change.set)["fetch_at"] == "D"


def test_optional_work_is_worth_what_it_brings_in_hours_of_work() -> None:
    found = job(visit(), order(optional=True, value_cents=2 * HOUR_CENTS))
    assert (found.priority, found.value) == (None, 2 * 3600)
    dear = [technician("T1", cost_hour_cents=10_000), technician("T2", cost_hour_cents=20_000), technician("T3")]
    assert job(visit(), order(optional=True, value_cents=30_000), technicians=dear).value == 2 * 3600
    assert (job(visit(), order(value_cents=30_000)).priority, job(visit(), order(value_cents=30_000)).value) == (3, 0)


@pytest.mark.parametrize(
    ("lead", "value"),
    [
        ({"estimate_cents": 4 * HOUR_CENTS, "score": 50}, 2 * 3600),
        ({"estimate_cents": 4 * HOUR_CENTS, "score": None}, 0),
        ({"estimate_cents": 4 * HOUR_CENTS, "score": 50, "status": "lost"}, 0),
        (None, 0),
    ],
)
def test_a_lead_is_worth_its_estimate_times_its_chance(lead: dict[str, Any] | None, value: int) -> None:
    leads = {} if lead is None else {"L": SimpleNamespace(**{"status": "qualified"} | lead)}
    assert job(visit(), order(optional=True, lead="L"), leads=leads).value == value


@pytest.mark.parametrize("more", [{"status": "dispatched"}, {"status": "accepted"}, {"promised_to": 12 * HOUR_MS}])
def test_what_was_promised_or_sent_out_is_owed(more: dict[str, Any]) -> None:
    found = job(visit(**more), order(optional=True, value_cents=1))
    assert (found.priority, found.value) == (3, 0)


def test_a_crews_visit_is_due_when_it_is_next_for_one_of_it() -> None:
    """Of a plan that goes out drop by drop, the one with the fewest visits ahead says when a crew's visit is due."""
    near, far = plan("T1", "T2").routes
    other = msgspec.structs.replace(near.stops[0], job="Q", start_s=0)
    busy = msgspec.structs.replace(far, start_s=far.start_s + 60, stops=(other, *far.stops))
    for routes in ((near, busy), (busy, near)):
        made = msgspec.structs.replace(plan(), routes=routes, unserved=())
        assert _places(day(visit(), order(crew=2)), made)["P"] == ("T1", 9 * HOUR_MS, ())
