"""Small problems whole, by CP-SAT: the best order of every shift, or proof that there is none better.

Each shift is a circuit over the jobs that it may serve (a job outside it loops on itself), with start times, breaks and levels as
one sum (Toth and Vigo, 2014, chapter 1; CP-SAT's AddCircuit). Breaks are looser here than in a plan (a second one may interrupt a
drive as well), lateness and moves are priced by the search's alternatives; so an answer is an order to be laid out and scored.
Calls at a depot and days already begun are beyond it. Runs in a child process only.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from msgspec import Struct

SEED = 1


class Leg(Struct, frozen=True):
    """Driving from a to b on a way (0 is its start and end, k + 1 is job k): seconds and price."""

    a: int
    b: int
    seconds: int
    price: int


class Pause(Struct, frozen=True):
    """A break of a way: bounds of its start, and its length."""

    earliest_s: int
    latest_s: int
    duration_s: int


class Tour(Struct, frozen=True, kw_only=True):
    """One way: hours, prices, breaks, the most jobs, work and own price by job it may serve, and every leg between those."""

    earliest_s: int
    latest_start_s: int
    end_s: int
    paid_end_s: int
    per_route: int
    duty: int
    overtime: int
    most: int
    pauses: tuple[Pause, ...]
    work_s: dict[int, int]
    price: dict[int, int]
    legs: tuple[Leg, ...]
    parts: tuple[tuple[dict[int, int], int], ...]  # need by job, and what lies on the van


class Small(Struct, frozen=True, kw_only=True):
    """A whole problem: tours, by job its options (from, to, price) and its price of absence, and orders to start from."""

    tours: tuple[Tour, ...]
    options: tuple[tuple[tuple[int, int, int], ...], ...]
    absence: tuple[int, ...]
    orders: tuple[tuple[int, ...], ...]
    effort: float


class Answer(Struct, frozen=True):
    """Orders of jobs by tour (None when nothing was found in time), and whether nothing better is possible."""

    orders: tuple[tuple[int, ...], ...] | None
    proved: bool


class _Whole:
    """The model under construction."""

    def __init__(self, small: Small) -> None:
        self.cp: Any = import_module("ortools.sat.python.cp_model")  # here: it loads pandas, which the parent can do without
        self.small = small
        self.model = self.cp.CpModel()
        self.cost: list[Any] = []
        low = min(tour.earliest_s for tour in small.tours)
        low = min([low, *(pause.earliest_s for tour in small.tours for pause in tour.pauses)])
        high = max([t.end_s for t in small.tours] + [p.latest_s + p.duration_s for t in small.tours for p in t.pauses])
        self.low, self.high = low, high
        self.start: list[Any] = []
        self.out: list[Any] = []
        self.arcs: list[dict[tuple[int, int], Any]] = []
        for options, absence in zip(small.options, small.absence, strict=True):
            self._job(options, absence)
        for n in range(len(small.tours)):
            self._tour(n)
        self._served_once()

    def _job(self, options: tuple[tuple[int, int, int], ...], absence: int) -> None:
        """A start in one of the options, at its price, or absence at that."""
        start, out = self.model.new_int_var(self.low, self.high, ""), self.model.new_bool_var("")
        picks = []
        for low, high, price in options:
            chosen = self.model.new_bool_var("")
            self.model.add(start >= low).only_enforce_if(chosen)
            self.model.add(start <= high).only_enforce_if(chosen)
            self.cost.append(price * chosen)
            picks.append(chosen)
        self.model.add_exactly_one([*picks, out])
        self.cost.append(absence * out)
        self.start.append(start)
        self.out.append(out)

    def _tour(self, n: int) -> None:
        """One way's circuit, times, breaks and prices."""
        tour, model = self.small.tours[n], self.model
        begin = model.new_int_var(tour.earliest_s, max(tour.earliest_s, tour.latest_start_s), "")
        end = model.new_int_var(tour.earliest_s, max(tour.earliest_s, tour.end_s), "")
        used = model.new_bool_var("")
        arcs: dict[tuple[int, int], Any] = {(k + 1, k + 1): model.new_bool_var("") for k in tour.work_s}
        arcs[0, 0] = used.negated()
        paused = self._pauses(tour, begin, end, used)
        for leg in tour.legs:
            taken = arcs[leg.a, leg.b] = model.new_bool_var("")
            over = begin if leg.a == 0 else self.start[leg.a - 1] + tour.work_s[leg.a - 1]
            there = end if leg.b == 0 else self.start[leg.b - 1]
            held = 0
            for (at, inside), pause in zip(paused, tour.pauses, strict=True):
                here = model.new_bool_var("")
                model.add_implication(here, inside[leg.a])
                model.add_implication(here, taken)
                model.add_bool_or([here, inside[leg.a].negated(), taken.negated()])
                model.add(at >= over).only_enforce_if(here)
                model.add(there >= at + pause.duration_s).only_enforce_if(here)
                held += pause.duration_s * here
            model.add(there >= over + leg.seconds + held).only_enforce_if(taken)
            self.cost.append(leg.price * taken)
        model.add_circuit([(a, b, taken) for (a, b), taken in arcs.items()])
        self.arcs.append(arcs)
        for k in tour.work_s:
            for _, inside in paused:
                model.add_implication(inside[k + 1], arcs[k + 1, k + 1].negated())
            self.cost.append(tour.price[k] * (1 - arcs[k + 1, k + 1]))
        model.add(sum(1 - arcs[k + 1, k + 1] for k in tour.work_s) <= tour.most)
        for need, stock in tour.parts:
            model.add(sum(count * (1 - arcs[k + 1, k + 1]) for k, count in need.items() if k in tour.work_s) <= stock)
        self._prices(tour, begin, end, used, paused)

    def _pauses(self, tour: Tour, begin: Any, end: Any, used: Any) -> list[tuple[Any, dict[int, Any]]]:
        """Each break: its start, and after which node it falls (-1 before the day, -2 after it)."""
        found = []
        for pause in tour.pauses:
            at = self.model.new_int_var(pause.earliest_s, pause.latest_s, "")
            where = {node: self.model.new_bool_var("") for node in (-1, -2, 0, *(k + 1 for k in tour.work_s))}
            self.model.add_exactly_one(where.values())
            self.model.add(begin >= pause.earliest_s + pause.duration_s).only_enforce_if([where[-1], used])
            self.model.add(end <= pause.latest_s).only_enforce_if([where[-2], used])
            found.append((at, where))
        for (one, _), (other, _), pause in zip(found, found[1:], tour.pauses, strict=False):
            self.model.add(other >= one + pause.duration_s)
        return found

    def _prices(self, tour: Tour, begin: Any, end: Any, used: Any, paused: list[tuple[Any, dict[int, Any]]]) -> None:
        self.cost.append(tour.per_route * used)
        inside = sum(pause.duration_s * (1 - where[-1] - where[-2]) for (_, where), pause in zip(paused, tour.pauses, strict=True))
        duty = self.model.new_int_var(0, self.high - self.low, "")
        self.model.add(duty >= end - begin - inside).only_enforce_if(used)
        self.cost.append(tour.duty * duty)
        if tour.overtime:
            over = self.model.new_int_var(0, max(0, tour.end_s - tour.paid_end_s), "")
            self.model.add(over >= end - tour.paid_end_s).only_enforce_if(used)
            self.cost.append(tour.overtime * over)

    def _served_once(self) -> None:
        for k, out in enumerate(self.out):
            loops = [arcs[k + 1, k + 1] for arcs in self.arcs if (k + 1, k + 1) in arcs]
            self.model.add(sum(1 - loop for loop in loops) + out == 1)
        for arcs, order in zip(self.arcs, self.small.orders, strict=True):
            steps = set(zip((0, *(k + 1 for k in order)), (*(k + 1 for k in order), 0), strict=True)) if order else {(0, 0)}
            for step, taken in arcs.items():
                if step != (0, 0):
                    self.model.add_hint(taken, step in steps or (step[0] == step[1] and step[0] - 1 not in order))


def solve_whole(small: Small) -> Answer:
    """The best orders found within the effort, in CP-SAT's deterministic time."""
    whole = _Whole(small)
    whole.model.minimize(sum(whole.cost))
    solver = whole.cp.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = SEED
    solver.parameters.max_deterministic_time = small.effort
    status = solver.solve(whole.model)
    if status not in (whole.cp.OPTIMAL, whole.cp.FEASIBLE):
        return Answer(None, proved=False)
    orders = []
    for arcs in whole.arcs:
        follow = {a: b for (a, b), taken in arcs.items() if a != b and solver.boolean_value(taken)}
        order, at = [], follow.get(0, 0)
        while at:
            order.append(at - 1)
            at = follow[at]
        orders.append(tuple(order))
    return Answer(tuple(orders), proved=status == whole.cp.OPTIMAL)
