"""One job more by labels against brute force: every position laid out and judged by `verify`, on random days."""

import random
from dataclasses import replace
from itertools import combinations_with_replacement

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from dispatch import Break, Fact, Published, Rates, Window, verify
from dispatch.assemble import assemble
from dispatch.board import Board
from dispatch.booking import Inserted, Price, insert_on, slots_on
from dispatch.compile import compile_problem
from dispatch.openings import Openings
from dispatch.schedule import Visit, lay_out, windows_in_order
from dispatch.score import score

MINUTE = 60
WINDOWS = tuple((h * 3600, (h + 2) * 3600) for h in range(0, 10, 2))


def day(tiny, chance):
    """A small day with a plan, and a job to put into it: breaks, due times, parts, tools, a depot, facts, overtime, a published
    plan."""

    def some(*choices):
        return chance.choice(choices)

    def job(name):
        opens = chance.randrange(300)
        return tiny.job(
            name,
            chance.randrange(61),
            chance.randint(1, 50),
            *some((), (), ((opens, opens + 60),), ((opens, opens + 40), (opens + 90, opens + 200))),
            due_s=some(None, None, chance.randint(60, 400) * MINUTE),
            late_per_s=chance.randint(1, 3),
            priority=some(1, 2, None),
            value=some(0, 5000),
            tools=some(frozenset(), frozenset({"drill"})),
            parts=tiny.parts(seal=some(0, 1, 2)),
            preferred=some(frozenset(), frozenset({"w0"})),
            not_preferred_price=300,
            soft_windows=some((), (Window(opens * MINUTE, opens * MINUTE + 1800),)),
            outside_price=400,
        )

    pauses = (Break(120 * MINUTE, 240 * MINUTE, 30 * MINUTE), Break(300 * MINUTE, 330 * MINUTE, 10 * MINUTE))
    staff = [
        tiny.worker(
            f"w{w}",
            tiny.shift(
                0, 420, some(None, chance.randrange(61)), breaks=pauses[: some(0, 1, 1, 2)], overtime_s=1800, max_jobs=some(None, 4)
            ),
            tools=some(frozenset(), frozenset({"drill"})),
            parts=tiny.parts(seal=4),
            rates=Rates(
                travel_per_s=1, duty_per_s=some(0, 1), overtime_per_s=2, per_route=some(0, 500), balance_per_s=some(0, 0, 1)
            ),
            pace_pct=some(80, 100),
        )
        for w in range(chance.randint(1, 3))
    ]
    jobs, new = [job(f"j{n}") for n in range(chance.randint(1, 8))], job("new")
    begun = chance.random() < 0.3
    if begun:
        jobs[0] = structs.replace(jobs[0], fact=Fact(worker="w0", shift=0, start_s=0, end_s=40 * MINUTE))
    told = [
        Published(job=j.id, worker="w0", start_s=chance.randrange(400) * MINUTE, move_worker=3)
        for j in (*jobs, new)
        if chance.random() < 0.3
    ]
    depots = some((), (30,))
    problem = tiny.problem(staff, jobs, published=tuple(told), depots=depots, depot_s=300, now_s=40 * MINUTE if begun else None)
    compiled = compile_problem(problem)
    orders = [[] for _ in compiled.ways]
    for k, i in enumerate(compiled.open_jobs):
        ways = [r for r in range(len(compiled.ways)) if compiled.ok[r, k]]
        if ways:
            orders[some(*ways)].append(i)
    if depots:
        orders[0].insert(chance.randrange(len(orders[0]) + 1), -1 - depots[0])
    return problem, _sound(compiled, orders), new


def _sound(compiled, orders):
    """A plan of these orders, each cut short until `verify` has nothing against its route."""
    laid = {}
    for r, whole in enumerate(orders):
        order = list(whole)
        while any(i >= 0 for i in order):
            row = windows_in_order(compiled, compiled.ways[r], order)
            found = None if row is None else lay_out(compiled.problem, compiled.ways[r], row)
            if found is not None and not verify(compiled.problem, assemble(compiled, {r: (row, None)})):
                laid[r] = (row, None)
                break
            order.pop()
    return assemble(compiled, laid)


def brute(board, job, windows):
    """By window the least (price, start, worker) of all positions that `verify` lets pass, priced by the whole plan's score."""
    problem = tiny_with(board.problem, job)
    asked = compile_problem(problem)
    options = asked.alternatives[asked.open_jobs.index(problem.job_index[job.id])]
    base = score(problem, board.plan.routes)
    best = {}
    for r, way in enumerate(asked.ways):
        row = board.row(r)
        others = [route for route in board.plan.routes if route is not board.route(r)]
        for at in range(len(row) + 1):
            for w, (a, b) in enumerate(windows):
                for option in options:
                    low, high = max(a, option.start_s), min(b, option.end_s)
                    for breaks in combinations_with_replacement(range(len(row) + 4), len(way.breaks)) if low <= high else ():
                        visit = Visit(problem.job_index[job.id], job.place, low, high)
                        route = lay_out(problem, way, [*row[:at], visit, *row[at:]], breaks)
                        if route is None:
                            continue
                        new = score(problem, [*others, route])
                        left = tuple(u for u in board.plan.unserved if u.job != job.id)
                        if verify(problem, structs.replace(board.plan, routes=(*others, route), unserved=left, score=new)):
                            continue
                        price = Price(late=new.late - base.late, moves=new.moves - base.moves, cost=new.cost - base.cost)
                        start_s = next(stop.start_s for stop in route.stops if stop.job == job.id)
                        best[w] = min(best.get(w, (price, start_s, route.worker)), (price, start_s, route.worker))
    return best


def tiny_with(problem, job):
    return replace(problem, jobs=(*problem.jobs, job))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 40))
def test_insertion_is_the_best_position_there_is(tiny, seed):
    """`insert` finds exactly the least price, start and worker of all positions, and nothing where there is none."""
    problem, plan, job = day(tiny, random.Random(seed))
    board = Board(problem, plan)
    expected = brute(board, job, ((-(1 << 40), 1 << 40),)).get(0)
    found = insert_on(board, job)
    if expected is None:
        assert not isinstance(found, Inserted)
        return
    assert (found.best.price, found.best.start_s, found.best.worker) == expected
    assert verify(tiny_with(problem, job), found.plan) == ()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 40))
def test_each_slot_is_the_best_position_in_its_window(tiny, seed):
    """Slots carry exactly the least price of their window; 100 for the cheapest, 0 for what cannot be done, in between by cost."""
    problem, plan, job = day(tiny, random.Random(seed))
    board = Board(problem, plan)
    expected = brute(board, job, WINDOWS)
    offered = slots_on(board, job, WINDOWS)
    got = {w: slot.insertion for w, slot in enumerate(offered) if slot.insertion is not None}
    assert {w: (place.price, place.start_s, place.worker) for w, place in got.items()} == expected
    for slot in offered:
        assert (slot.grade == 0) == (slot.insertion is None)
    if got:
        cheapest = min(place.price for place in got.values())
        capped = cheapest.late > 0 or cheapest.moves > 0
        best = [slot.grade for slot in offered if slot.insertion and slot.insertion.price == cheapest]
        assert best == [20 if capped else 100] * len(best)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 40), st.sampled_from([0, 3600]))
def test_the_opening_told_is_the_one_that_ends_soonest(tiny, seed, stretch_s):
    """Of all gaps on all shifts, without breaks, `nearest` names one that ends least beyond its shift; or none where none fits."""
    problem, plan, job = day(tiny, random.Random(seed))
    board = Board(problem, plan)
    compiled = compile_problem(tiny_with(problem, job))
    k = compiled.open_jobs.index(len(problem.jobs))
    visit = [Visit(compiled.open_jobs[k], job.place, o.start_s, o.end_s) for o in compiled.alternatives[k]]
    ends = []
    for r, way in enumerate(compiled.ways):
        longer, row = replace(way, end_s=way.end_s + stretch_s, breaks=()), board.row(r)
        tries = [(at, v) for at in range(len(row) + 1) for v in visit] if compiled.ok[r, k] else []
        routes = [lay_out(compiled.problem, longer, [*row[:at], v, *row[at:]], ()) for at, v in tries]
        ends += [route.end_s - way.end_s for route in routes if route is not None]
    openings = Openings(compiled, {r: board.row(r) for r in range(len(compiled.ways))})
    found = openings.nearest(k, compiled.alternatives[k], stretch_s)
    assert (None if found is None else found[0]) == min(ends, default=None)
