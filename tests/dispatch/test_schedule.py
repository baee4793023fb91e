"""Times for a given order, against trial of every minute at which the day could begin."""

from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch import Break, Rates
from dispatch.assemble import assemble
from dispatch.compile import compile_problem
from dispatch.schedule import Visit, lay_out
from dispatch.verify import verify

MINUTE = 60


def by_trial(problem, way, visits):
    """The shortest duty over all starting minutes, without breaks; None when no start works."""
    best = None
    for start in range(way.earliest_s, way.end_s + 1, MINUTE):
        t, place = start, way.start_place
        for visit in visits:
            t += int(problem.travel.seconds[place, visit.place])
            if t > visit.end_s:
                break
            t = max(t, visit.start_s) + problem.jobs[visit.job].duration_s
            place = visit.place
        else:
            t += int(problem.travel.seconds[place, way.end_place])
            if t <= way.end_s and (best is None or t - start < best):
                best = t - start
    return best


visit = st.tuples(st.integers(0, 60), st.integers(0, 40), st.integers(0, 300), st.integers(0, 120))


@settings(max_examples=150, deadline=None)
@given(st.lists(visit, min_size=1, max_size=5))
def test_the_day_is_as_short_as_trial_finds(tiny, rows):
    """lay_out finds a route exactly when some start works, and its duty is the least of all."""
    jobs = [tiny.job(str(n), place, minutes, (a, a + width)) for n, (place, minutes, a, width) in enumerate(rows)]
    problem = tiny.problem([tiny.worker("ann", tiny.shift(0, 420))], jobs)
    compiled = compile_problem(problem)
    visits = [Visit(n, job.place, job.windows[0].start_s, job.windows[0].end_s) for n, job in enumerate(jobs)]
    route = lay_out(problem, compiled.ways[0], visits)
    expected = by_trial(problem, compiled.ways[0], visits)
    assert (route is None) == (expected is None)
    if route is not None:
        assert route.duty_s == expected
        assert verify(problem, assemble(compiled, {0: (visits, None)})) == ()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(visit, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60), st.integers(5, 45)), min_size=1, max_size=2),
)
def test_days_with_breaks_pass_the_checker(tiny, rows, pauses):
    """Whatever lay_out accepts with breaks is sound from the definition."""
    breaks = tuple(Break(a * MINUTE, (a + w) * MINUTE, d * MINUTE) for a, w, d in sorted(pauses))
    worker = tiny.worker("ann", tiny.shift(0, 480, breaks=breaks), rates=Rates(duty_per_s=1))
    jobs = [tiny.job(str(n), place, minutes, (a, a + width)) for n, (place, minutes, a, width) in enumerate(rows)]
    problem = tiny.problem([worker], jobs)
    compiled = compile_problem(problem)
    visits = [Visit(n, job.place, job.windows[0].start_s, job.windows[0].end_s) for n, job in enumerate(jobs)]
    if lay_out(problem, compiled.ways[0], visits) is not None:
        assert verify(problem, assemble(compiled, {0: (visits, None)})) == ()


def test_a_break_interrupts_the_drive(tiny):
    """Ninety minutes of road around a break at minute 40: it is taken on the way and the drive goes on."""
    worker = tiny.worker("ann", tiny.shift(0, 300, breaks=(Break(40 * MINUTE, 45 * MINUTE, 30 * MINUTE),)))
    problem = tiny.problem([worker], [tiny.job("A", 60, 10, (0, 90))], now_s=0)
    compiled = compile_problem(problem)
    route = lay_out(problem, compiled.ways[0], [Visit(0, 60, 60 * MINUTE, 90 * MINUTE)])
    assert route is not None
    assert [stop.kind for stop in route.stops] in (["job"], ["break", "job"])
    assert verify(problem, assemble(compiled, {0: ([Visit(0, 60, 60 * MINUTE, 90 * MINUTE)], None)})) == ()


def test_a_break_at_home_costs_nothing(tiny):
    """A day that is over by the break's latest start owes none."""
    worker = tiny.worker("ann", tiny.shift(0, 480, breaks=(Break(200 * MINUTE, 240 * MINUTE, 30 * MINUTE),)))
    problem = tiny.problem([worker], [tiny.job("A", 5)])
    route = lay_out(problem, compile_problem(problem).ways[0], [Visit(0, 5, 0, 480 * MINUTE)])
    assert route is not None
    assert [stop.kind for stop in route.stops] == ["job"]
