"""The authority: a finished plan must satisfy OR-Tools' own routing model of the problem before it counts as final.

The model is built from the `Problem`, not from the search's arrays: vehicles are the shifts of the plan's routes, nodes its stops.
It holds travel, work by pace, windows, release, pins, shift hours with overtime, breaks, who may serve what, parts on the van, most
jobs a shift, crews that start together, and precedence. The plan's order and times are put in fixed, and OR-Tools completes the
rest or refuses (`ReadAssignmentFromRoutes` restores an assignment through every constraint; Perron and Furnon, OR-Tools 9.15).

Beyond the model, and left to `verify`: tools and parts on a route that calls at a depot (the call itself and its times are in the
model), facts, the score, and the arrival within a wait. Plans beyond `WHOLE` stops are judged in groups of routes; a crew or
a precedence across two groups is then `verify`'s alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import structs

from dispatch.child import ask
from dispatch.plan import Plan, Route
from dispatch.problem import Problem
from dispatch.routing_model import FAMILIES, satisfied
from dispatch.travel import TravelMatrix
from dispatch.verify import Breach, verify

WHOLE = 200  # stops judged as one model: the matrices grow with their square


class PlanRefused(RuntimeError):
    """A finished plan that the checker or OR-Tools refuses: a fault of the search, and never an answer."""

    def __init__(self, breaches: Sequence[Breach]) -> None:
        first = breaches[0]
        super().__init__(f"{first.rule}: {first.worker} {first.job} {first.words} ({len(breaches)} in all)")
        self.breaches = tuple(breaches)


def approve(problem: Problem, plan: Plan) -> Plan:
    """The plan itself when `verify` and OR-Tools both accept it. Raises PlanRefused otherwise."""
    breaches = verify(problem, plan) or refusals(problem, plan)
    if breaches:
        raise PlanRefused(breaches)
    return plan


def refusals(problem: Problem, plan: Plan) -> tuple[Breach, ...]:
    """What OR-Tools refuses, route by route; empty when the plan satisfies its model. The plan must have passed `verify`."""
    found: list[Breach] = []
    for routes in _groups(problem, plan):
        if ask(satisfied, *_part(problem, routes)):
            continue
        alone = [(route, rule) for route in routes for rule in [_refused(problem, route)] if rule]
        found += [
            Breach(rule="authority", worker=route.worker, words=f"OR-Tools refuses shift {route.shift}: {rule}")
            for route, rule in alone
        ]
        if not alone:
            found.append(Breach(rule="authority", words="OR-Tools refuses these routes together: crews or precedence"))
    return tuple(found)


def _refused(problem: Problem, route: Route) -> str:
    """Empty when the route satisfies the model by itself, else the first family of rules without which it does."""
    part, routes = _part(problem, [route])
    if ask(satisfied, part, routes):
        return ""
    for family in FAMILIES:
        if ask(satisfied, part, routes, without=family):
            return family
    return "several rules at once"


def _groups(problem: Problem, plan: Plan) -> Iterator[list[Route]]:
    """The routes with work still to come, in groups of at most WHOLE stops (or one route)."""
    group: list[Route] = []
    size = 0
    for route in plan.routes:
        stops = sum(stop.kind != "job" or problem.job(stop.job).fact is None for stop in route.stops)
        if all(problem.job(job).fact is not None for job in route.jobs):
            continue
        if group and size + stops > WHOLE:
            yield group
            group, size = [], 0
        group.append(route)
        size += stops
    if group:
        yield group


def _part(problem: Problem, routes: Sequence[Route]) -> tuple[Problem, list[Route]]:
    """The problem cut down to the places, shifts and jobs of these routes, and the routes in its terms."""
    names = {job for route in routes for job in route.jobs}
    workers = {route.worker for route in routes}
    jobs = [job for job in problem.jobs if job.id in names or (job.fact is not None and job.fact.worker in workers)]
    known = names | {job.id for job in jobs}
    staff = [worker for worker in problem.workers if worker.id in workers]
    used = {job.place for job in jobs} | set(problem.depots)
    used |= {place for w in staff for s in w.shifts for place in (s.start_place, s.end_place) if place is not None}
    places = sorted(used)
    row = {place: k for k, place in enumerate(places)}
    cut = np.ix_(places, places)
    part = Problem(
        workers=tuple(
            structs.replace(
                w,
                shifts=tuple(
                    structs.replace(
                        s,
                        start_place=None if s.start_place is None else row[s.start_place],
                        end_place=None if s.end_place is None else row[s.end_place],
                    )
                    for s in w.shifts
                ),
            )
            for w in staff
        ),
        jobs=tuple(structs.replace(job, place=row[job.place], after=job.after & known) for job in jobs),
        travel=TravelMatrix(np.ascontiguousarray(problem.travel.seconds[cut]), np.ascontiguousarray(problem.travel.metres[cut])),
        depots=tuple(row[place] for place in problem.depots),
        depot_s=problem.depot_s,
        now_s=problem.now_s,
    )
    moved = [
        structs.replace(
            route, stops=tuple(structs.replace(stop, place=row[stop.place]) if stop.place >= 0 else stop for stop in route.stops)
        )
        for route in routes
    ]
    return part, moved
