"""Generated days: a city with towns, people with homes, jobs with skills, windows and classes."""

from __future__ import annotations

import random
from dataclasses import replace

from msgspec import structs

from dispatch import Break, Job, Plan, Problem, Rates, Shift, SkillHeld, SkillNeed, Window, Worker, estimate
from dispatch.score import score

HOUR = 3600
DAY = 24 * HOUR
SEED = 7


def day(workers: int, jobs: int, seed: int = SEED, *, breaks: bool = True) -> Problem:
    """A city's day: clustered sites, homes of their own, five skills, three classes, half the jobs with windows, a lunch break."""
    draw = random.Random(seed)
    towns = [(36.1 + draw.gauss(0, 0.12), -86.8 + draw.gauss(0, 0.15)) for _ in range(max(3, workers // 4))]

    def point() -> tuple[float, float]:
        lat, lon = draw.choice(towns)
        return lat + draw.gauss(0, 0.03), lon + draw.gauss(0, 0.04)

    points = [point() for _ in range(workers + jobs)]
    lunch = (Break(11 * HOUR + 1800, 13 * HOUR, 1800),) if breaks else ()
    staff = []
    for w in range(workers):
        start = draw.choice((7, 8, 8, 9)) * HOUR
        shift = Shift(start_s=start, end_s=start + draw.choice((8, 9)) * HOUR, start_place=w, end_place=w, breaks=lunch)
        skills = tuple(SkillHeld(f"s{k}", draw.randint(1, 3)) for k in draw.sample(range(5), draw.randint(2, 4)))
        rates = Rates(travel_per_s=1, duty_per_s=0)
        staff.append(Worker(id=f"w{w}", shifts=(shift,), skills=skills, pace_pct=draw.choice((90, 100, 100, 115)), rates=rates))
    work = []
    for j in range(jobs):
        opens = draw.randrange(7, 15) * HOUR
        windows = (Window(opens, opens + draw.choice((2, 4)) * HOUR),) if draw.random() < 0.5 else ()
        needs = (SkillNeed(f"s{draw.randrange(5)}", draw.choice((1, 1, 2))),) if draw.random() < 0.7 else ()
        minutes = draw.choice((10, 15, 20, 30, 45))
        priority = draw.choice((1, 2, 2, 3, 3, 3))
        work.append(Job(id=f"j{j}", place=workers + j, duration_s=minutes * 60, windows=windows, skills=needs, priority=priority))
    return Problem(workers=tuple(staff), jobs=tuple(work), travel=estimate(points))


def emergencies(problem: Problem, count: int, opens_s: int, closes_s: int, seed: int = SEED) -> list[Job]:
    """Jobs of the highest class at places of the problem's own, to be begun between the two moments."""
    draw = random.Random(seed)
    return [
        Job(
            id=f"emergency {n}",
            place=draw.choice(problem.jobs).place,
            duration_s=draw.choice((20, 30, 45)) * 60,
            windows=(Window(opens_s, closes_s),),
            skills=(SkillNeed(f"s{draw.randrange(5)}"),),
            priority=1,
        )
        for n in range(count)
    ]


def week(problem: Problem, plan: Plan, days: int = 5) -> tuple[Problem, Plan]:
    """The same day `days` times in one problem, each with jobs of its own, and the plan for all of them."""
    workers = tuple(
        structs.replace(worker, shifts=tuple(_later(shift, d * DAY) for d in range(days) for shift in worker.shifts))
        for worker in problem.workers
    )
    jobs = tuple(
        structs.replace(
            job,
            id=f"{job.id} day {d}",
            windows=tuple(Window(w.start_s + d * DAY, w.end_s + d * DAY) for w in job.windows)
            or (Window(d * DAY, (d + 1) * DAY - 1),),
        )
        for d in range(days)
        for job in problem.jobs
    )
    whole = replace(problem, workers=workers, jobs=jobs)
    routes = tuple(
        structs.replace(
            route,
            shift=d,
            start_s=route.start_s + d * DAY,
            end_s=route.end_s + d * DAY,
            stops=tuple(
                structs.replace(
                    stop,
                    job=f"{stop.job} day {d}" if stop.job else "",
                    arrival_s=stop.arrival_s + d * DAY,
                    start_s=stop.start_s + d * DAY,
                    end_s=stop.end_s + d * DAY,
                )
                for stop in route.stops
            ),
        )
        for route in plan.routes
        for d in range(days)
    )
    unserved = tuple(structs.replace(left, job=f"{left.job} day {d}") for left in plan.unserved for d in range(days))
    return whole, structs.replace(plan, routes=routes, unserved=unserved, score=score(whole, routes))


def _later(shift: Shift, by_s: int) -> Shift:
    pauses = tuple(Break(b.earliest_s + by_s, b.latest_s + by_s, b.duration_s) for b in shift.breaks)
    return structs.replace(shift, start_s=shift.start_s + by_s, end_s=shift.end_s + by_s, breaks=pauses)
