"""Planning of technicians' and reps' days. Pure: no database, no server, no clock.

    from dispatch import Job, Place, Problem, Shift, SkillHeld, SkillNeed, Window, Worker, estimate, solve, verify

    points = [(36.16, -86.78), (36.12, -86.67), (36.21, -86.69)]          # latitude, longitude; a place is a row number in here
    ann = Worker(id="ann", skills=(SkillHeld("boiler", 2),),
                 shifts=(Shift(start_s=8 * 3600, end_s=17 * 3600, start_place=0, end_place=0),))
    jobs = (Job(id="A", place=1, duration_s=3600, priority=1, skills=(SkillNeed("boiler", 2),)),
            Job(id="B", place=2, duration_s=1800, windows=(Window(9 * 3600, 12 * 3600),), pinned_worker="ann"))
    problem = Problem(workers=(ann,), jobs=jobs, travel=estimate(points))
    plan = solve(problem, seconds=2, seed=0, on_progress=lambda news: print(news.seconds, news.score, news.plan.served))
    assert verify(problem, plan) == ()                                     # breaches, each with rule, worker, job, words
    for route in plan.routes:
        print(route.worker, [(stop.job, stop.start_s, stop.end_s, stop.travel_s) for stop in route.stops if stop.kind == "job"])
    for left in plan.unserved:
        print(left.job, left.rule, left.words, left.nearest)

Times are integer seconds from an origin of the caller's choice; a plan answers in the same clock. What has started or is done is
`Job(fact=Fact(...))`; what a dispatcher fixed is `pinned_worker` and/or `pinned_start_s`. `solve` is blocking: call it in a worker
process or thread (the first call on a machine compiles for about half a minute: `warm_up()` when the worker starts); `should_stop`
ends it early with the best plan so far, `start=plan` improves a given plan. A plan that OR-Tools or `verify` refuses is never an
answer: `PlanRefused`. `dispatch.booking` puts one job more into a plan, `dispatch.replan` repairs a day under way.
"""

from dispatch.authority import PlanRefused
from dispatch.plan import Plan, Route, Score, Stop, Unserved
from dispatch.problem import (
    BadProblem,
    Break,
    Fact,
    Job,
    Parts,
    Place,
    Problem,
    Published,
    Rates,
    Shift,
    SkillHeld,
    SkillNeed,
    Window,
    Worker,
)
from dispatch.solver import Progress, solve, warm_up
from dispatch.travel import TravelMatrix, estimate, matrix
from dispatch.verify import Breach, verify

__all__ = [
    "BadProblem",
    "Breach",
    "Break",
    "Fact",
    "Job",
    "Parts",
    "Place",
    "Plan",
    "PlanRefused",
    "Problem",
    "Progress",
    "Published",
    "Rates",
    "Route",
    "Score",
    "Shift",
    "SkillHeld",
    "SkillNeed",
    "Stop",
    "TravelMatrix",
    "Unserved",
    "Window",
    "Worker",
    "estimate",
    "matrix",
    "solve",
    "verify",
    "warm_up",
]
