"""A day that moves: what has begun stands, nobody knows the future, and the whole day is judged at its end."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from typer.testing import CliRunner

from cli.main import app
from dispatch import Break, verify
from dispatch.files import DayReport
from dispatch.formats import BadFile, read_instance, read_releases
from dispatch.replan import freeze, repair, under_way
from dispatch.replay import broken, replay
from dispatch.solver import solve

MINUTE = 60
TRSP = Path(__file__).parents[3] / "shared/data/trsp"
needs_data = pytest.mark.skipif(not TRSP.exists(), reason="the public instances are not beside the repository")


def town(tiny, crew=1):
    """Two workers with a break each, drills at the depot only, and eight jobs along the line."""
    pause = Break(120 * MINUTE, 200 * MINUTE, 20 * MINUTE)
    staff = [
        tiny.worker(name, tiny.shift(home=home, breaks=(pause,)), parts=tiny.parts(seal=2))
        for name, home in (("ann", 0), ("bob", 60))
    ]
    tools = {3: frozenset({"drill"}), 6: frozenset({"drill"})}
    jobs = [tiny.job(f"j{n}", 7 * n, 20, tools=tools.get(n, frozenset()), parts=tiny.parts(seal=n % 2)) for n in range(8)]
    jobs[5] = structs.replace(jobs[5], crew=crew)
    return tiny.problem(staff, jobs, depots=(30,), depot_s=300)


@pytest.mark.parametrize("crew", [1, 2])
def test_frozen_at_any_moment_the_plan_goes_on(tiny, crew):
    """Whatever has begun is a fact, the rest is planned anew without a breach, and nothing that was served is lost."""
    problem = town(tiny, crew)
    plan = solve(problem, iterations=100)
    for minute in (0, 45, 130, 185, 300) if crew == 1 else (130,):
        now_s = minute * MINUTE
        begun = {stop.job for stops in under_way(problem, plan, now_s).values() for stop in stops if stop.kind == "job"}
        frozen = freeze(problem, plan, now_s)
        assert {job.id for job in frozen.jobs if job.fact and job.id in problem.job_index} == begun
        again = repair(frozen, plan, iterations=100)
        assert verify(frozen, again) == ()
        assert {job for route in plan.routes for job in route.jobs} <= {job for route in again.routes for job in route.jobs}


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=5, max_size=5), st.integers(0, 3))
def test_a_moving_day_holds(tiny, minutes, seed):
    """With jobs appearing at any moments the day as it went keeps every rule, and each job is served or has its reason."""
    problem = town(tiny)
    released = {f"j{n}": minute * MINUTE for n, minute in enumerate(minutes)}
    day = replay(problem, released, seconds=None, iterations=60, seed=seed)
    assert day.breaches == ()
    assert day.plan.served + len(day.plan.unserved) == 8
    for route in day.plan.routes:
        for stop in route.stops:
            if stop.kind == "job":
                assert stop.arrival_s - stop.travel_s >= released.get(stop.job, 0)


def test_one_who_went_home_is_called_out_again(tiny):
    """A job that appears after everyone has gone home is served from there, on a shift of its own."""
    problem = tiny.problem(
        [tiny.worker(parts=tiny.parts(seal=2))], [tiny.job("a", 10, parts=tiny.parts(seal=1)), tiny.job("b", 20)]
    )
    day = replay(problem, {"b": 200 * MINUTE}, seconds=None, iterations=50)
    assert day.breaches == ()
    assert (day.plan.served, day.outings) == (2, 1)
    again = day.plan.routes[1]
    assert (again.shift, again.start_s, again.stops[0].arrival_s) == (1, 200 * MINUTE, 220 * MINUTE)


def test_clairvoyance_is_a_breach(tiny):
    """A plan made with every job known breaks the rule of the day on which it was not."""
    problem = town(tiny)
    plan = solve(problem, iterations=200)
    rules = {breach.rule for breach in broken(problem, plan, {"j4": 1 << 30})}
    assert rules == {"released"}


@needs_data
def test_releases_are_read_and_the_command_plays_them(tmp_path):
    instance = read_instance(TRSP / "RC207.txt")
    released = read_releases((TRSP / "RC207_rd_10.txt").read_text(), instance)
    assert len(released) == 10
    with pytest.raises(BadFile, match="ID RD"):
        read_releases("nothing", instance)
    few = tmp_path / "few.txt"
    few.write_text("\n".join(["ID    RD", *(f"{id_} {at // instance.scale}" for id_, at in list(released.items())[:1])]))
    out = tmp_path / "day.json"
    words = [
        "dispatch",
        "replay",
        str(TRSP / "RC207.txt"),
        "--releases",
        str(few),
        "--seconds-per-event",
        "0.1",
        "--static-seconds",
        "0.2",
    ]
    done = CliRunner().invoke(app, [*words, "--json", str(out)])
    assert done.exit_code == 0, done.output
    report = msgspec.json.decode(out.read_bytes(), type=DayReport)
    assert report.verified
    assert report.served + len(report.unserved) == 100
    assert CliRunner().invoke(app, [*words[:3], "--releases", str(TRSP / "bks.csv")]).exit_code == 2
