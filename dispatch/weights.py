"""Prices that make one sum out of the levels, so that a search which adds up still keeps their order."""

from __future__ import annotations

import numpy as np

from dispatch.compile import Compiled, Ints, shift_of
from dispatch.score import classes

LARGEST = 1 << 52  # sums stay exact in a double


def job_prices(compiled: Compiled) -> Ints:
    """What leaving out each open job costs, shape (open jobs,): above any travel and all optional visits, and class above class.

    Optional jobs cost their value, pinned ones more than every class. Where classes are so many that the sum would not stay exact,
    their ratio is bounded; the comparison of finished plans is by `Score` and strict in any case.
    """
    problem = compiled.problem
    unit = dearest_insertion(compiled)
    kinds = classes(problem)
    counts = {kind: sum(problem.jobs[i].priority == kind for i in compiled.open_jobs) for kind in kinds}
    total = max(len(compiled.open_jobs), 1)
    values = sum(problem.jobs[i].value for i in compiled.open_jobs if problem.jobs[i].priority is None)
    unit = min(unit + 2 * values, max(unit, LARGEST // (4 * total)))
    ladder: dict[int, int] = {}
    price = unit
    room = max(2, int((LARGEST / (unit * total)) ** (1 / max(len(kinds), 1))))
    for kind in reversed(kinds):
        ladder[kind] = price
        price *= min(counts[kind] + 1, room)
    prices = np.zeros(len(compiled.open_jobs), dtype=np.int64)
    for k, i in enumerate(compiled.open_jobs):
        job = problem.jobs[i]
        prices[k] = price if job.pinned else (job.value if job.priority is None else ladder[job.priority])
    return prices


def late_price(compiled: Compiled) -> int:
    """Cost of a weighted second of lateness: five minutes of it outweigh any insertion ten times."""
    return max(1, dearest_insertion(compiled) // 30)


def move_price(compiled: Compiled) -> int:
    """Cost of a unit of moving what was published: one outweighs any insertion."""
    return dearest_insertion(compiled)


def search_prices(compiled: Compiled) -> Ints:
    """`job_prices` raised so that serving a job late, or moved, is still cheaper than leaving it out."""
    prices = job_prices(compiled)
    late, move = late_price(compiled), move_price(compiled)
    moved = {entry.job: entry.move_worker for entry in compiled.problem.published}
    worst = 0
    for options, i in zip(compiled.alternatives, compiled.open_jobs, strict=True):
        dearest = max((option.late * late + option.moves * move for option in options), default=0)
        worst = max(worst, dearest + moved.get(compiled.problem.jobs[i].id, 0) * move)
    if worst == 0:
        return prices
    unit = dearest_insertion(compiled)
    factor = min(1 + worst // unit, max(1, LARGEST // max(1, int(prices.max()) * len(prices))))
    mandatory = np.array(
        [compiled.problem.jobs[i].priority is not None or compiled.problem.jobs[i].pinned for i in compiled.open_jobs]
    )
    return np.where(mandatory, prices * factor, prices)


def dearest_insertion(compiled: Compiled) -> int:
    """More than any one insertion can add to the cost of a plan."""
    problem = compiled.problem
    far_s = int(problem.travel.seconds.max(initial=0))
    far_m = int(problem.travel.metres.max(initial=0))
    most = 1
    for way in compiled.ways:
        rates = problem.workers[way.worker].rates
        shift = shift_of(problem, way)
        day_s = way.end_s - min(way.earliest_s, shift.start_s)
        most = max(
            most,
            rates.per_route
            + 2 * (rates.travel_per_s * far_s + rates.distance_per_m * far_m)
            + rates.duty_per_s * max(day_s, 0)
            + rates.overtime_per_s * shift.overtime_s
            + 2 * rates.balance_per_s * max(day_s, 0),
        )
    return most + max((job.not_preferred_price + job.outside_price for job in problem.jobs), default=0)
