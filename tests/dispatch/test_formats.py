"""Public files as problems, the project's own JSON, and the page."""

from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from dispatch import solve, verify
from dispatch.files import decode_plan, decode_problem, encode_problem, report
from dispatch.formats import BadFile, Instance, read_instance, read_trsp, read_vrplib
from dispatch.page import page

DATA = Path("../shared/data")
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the public instances are not beside the checkout")

TRSP = """tiny

INFO
CREW COUNT  SKILLS  TOOLS   SPARE PARTS
1       1       1       1

DEPOT TECHNICIANS AND REQUESTS
ID   X     Y     TWS    TWE    Serv   SKILLS   TOOLS    SPARE PARTS
0    3    0      0      230    0      [] \t[] \t[]
1    0    0      0      230    0      [0] \t[] \t[1]
2    0    4      0      230    10     [0] \t[] \t[1]
3    3    4      0      230    10     [0] \t[0] \t[1]
"""

PRIZES = """NAME : tiny
VEHICLES : 1
CAPACITY : 5
SERVICE_TIME : 1
NODE_COORD_SECTION
1 0 0
2 3 4
3 90 0
DEMAND_SECTION
1 0
2 2
3 2
TIME_WINDOW_SECTION
1 0 500
2 0 400
3 0 400
PRIZE_SECTION
1 0
2 30
3 20
DEPOT_SECTION
1
-1
EOF
"""


def test_technicians_call_at_the_depot_for_what_they_lack():
    """Drill and second part lie at (3, 0): home, depot, both requests, home is the shortest day."""
    instance = read_trsp(TRSP, "tiny")
    plan = solve(instance.problem, iterations=300)
    assert verify(instance.problem, plan) == ()
    assert [stop.kind for stop in plan.routes[0].stops].count("depot") == 1
    assert report(instance, plan).duration == pytest.approx(3 + 4 + 3 + 4 + 20, abs=1e-3)


def test_prizes_are_collected_where_they_pay():
    instance = read_vrplib(PRIZES, "tiny")
    plan = solve(instance.problem, iterations=300)
    assert [route.jobs for route in plan.routes] == [("1",)]
    assert report(instance, plan).cost == pytest.approx(10 + 20)


@pytest.mark.parametrize("text", ["", "NODE_COORD_SECTION\n1 0", "DEPOT TECHNICIANS AND REQUESTS"])
def test_other_files_are_refused(tmp_path, text):
    file = tmp_path / "odd.txt"
    file.write_text(text)
    with pytest.raises(BadFile, match="odd"):
        read_instance(file)


@needs_data
def test_published_instances_are_read():
    instance = read_instance(DATA / "trsp/R104.txt")
    assert (len(instance.problem.workers), len(instance.problem.jobs), instance.problem.depots) == (25, 100, (0,))
    assert len(read_instance(DATA / "vrptw/R1_10_3.vrp").problem.jobs) == 1000


@needs_data
@pytest.mark.parametrize(("kind", "name"), [("pcvrptw", "C1_10_1"), ("vrptw", "R1_10_3")])
def test_published_solutions_cost_what_they_say(kind, name):
    """Distance, plus the prizes not collected, of the published routes comes to their published cost."""
    problem = read_instance(DATA / kind / f"{name}.vrp").problem
    lines = (DATA / kind / f"{name}.sol").read_text().splitlines()
    routes = [[int(word) for word in line.split(":")[1].split()] for line in lines if line.startswith("Route")]
    legs = [leg for route in routes for leg in zip([0, *route], [*route, 0], strict=True)]
    served = {at for route in routes for at in route}
    cost = sum(int(problem.travel.seconds[a, b]) for a, b in legs) + sum(j.value for j in problem.jobs if j.place not in served)
    assert cost == pytest.approx(float(lines[-1].split()[-1]) * (10 if kind == "vrptw" else 1))


def test_problems_and_plans_survive_json(tiny):
    problem = tiny.problem([tiny.worker()], [tiny.job("A", 5, 10, (0, 60)), tiny.job("B", 9, skills=[("gas", 1)])])
    again = decode_problem(encode_problem(problem))
    plan = solve(again, iterations=100)
    assert (again.jobs, again.workers) == (problem.jobs, problem.workers)
    assert decode_plan(msgspec.json.encode(plan)) == plan
    assert decode_plan(msgspec.json.encode(report(Instance("t", problem, 1, planar=True), plan))).routes == plan.routes


@pytest.mark.parametrize("data", [b"{", b'{"workers": 3, "jobs": []}'])
def test_bad_json_names_the_fault(data):
    with pytest.raises(BadFile, match="problem: "):
        decode_problem(data)


def test_the_page_draws_every_stop():
    instance = read_trsp(TRSP, "<tiny>")
    plan = solve(instance.problem, iterations=300)
    text = page(instance, plan, verified=True)
    assert "<tiny>" not in text
    assert "://" not in text
    for part in text.split("<svg")[1:]:
        ET.fromstring("<svg" + part.split("</svg>")[0] + "</svg>")
    assert text.count("<circle") == 3
