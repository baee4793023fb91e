"""The suites in a tiny form: each runs, and its figures agree with `score` and `verify`."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from benchmarks.dispatch import field, growth, peers, public, realtime
from benchmarks.dispatch.days import day, emergencies, week
from benchmarks.dispatch.run import Ask, Suite, judged, p95, run, show, words, write
from benchmarks.dispatch.suites import SUITES, measure
from cli.main import app
from dispatch import Score, verify
from dispatch.compile import compile_problem
from dispatch.score import score
from dispatch.solver import solve

DATA = Path(__file__).parents[3] / "shared/data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the public instances are not beside the repository")


def ask(suite, **more):
    return Ask(suite=suite, data=str(DATA), seconds=0.2, **more)


@pytest.mark.parametrize("peer", ["vroom", "pyvrp", "ortools"])
def test_a_peers_answer_is_judged_by_our_rules(peer):
    """Its routes keep every rule, serve only whom they may, and cost what `score` says; nothing of its own word is taken."""
    problem = day(3, 12, breaks=peer != "pyvrp")
    solvers = {"vroom": peers.vroom, "pyvrp": lambda p, s: peers.pyvrp(p, s, 1), "ortools": peers.ortools}
    answer = solvers[peer](problem, 1.0)
    assert len(answer.orders) == 3
    plan = judged(problem, answer.orders)
    assert verify(problem, plan) == ()
    assert plan.score == score(problem, plan.routes)
    assert {problem.jobs[i].id for order in answer.orders for i in order} == {job for route in plan.routes for job in route.jobs}
    assert solve(problem, iterations=3000).score <= plan.score


def test_what_a_peer_cannot_do_is_said():
    """PyVRP has no breaks; a package that is missing is named."""
    with pytest.raises(peers.Absent, match="breaks"):
        peers.pyvrp(day(2, 5), 0.1, 1)
    with pytest.raises(peers.Absent, match="nothing-of-the-kind is not installed"):
        peers._loaded("nothing_of_the_kind", "nothing-of-the-kind")


def test_a_field_row_compares_like_with_like(monkeypatch):
    problem = day(3, 12)
    monkeypatch.setattr(peers, "ortools", lambda _problem, _seconds: (_ for _ in ()).throw(peers.Absent("it is away")))
    row = field.measured(ask("field"), "tiny", problem)
    assert row["ortools_absent"] == "it is away"
    assert row["unserved_by_class"] == row["vroom_unserved_by_class"]
    assert row["ratio_to_vroom"] == row["cost"] / row["vroom_cost"]
    assert row["no_class_worse_than_vroom"] == (row["unserved_by_class"] <= row["vroom_unserved_by_class"])
    found = field.figures([row])
    assert found["ratios_to_vroom"] == {"tiny": row["ratio_to_vroom"]}
    assert found["no_class_worse_than_a_peer"] == row["no_class_worse_than_vroom"]


def test_a_higher_class_left_out_is_seen():
    worse = {"day": "x", "no_class_worse_than_vroom": False}
    assert field.figures([worse])["no_class_worse_than_a_peer"] is False


def test_costs_are_compared_only_where_as_much_is_served(monkeypatch):
    """A peer that serves nobody drives nowhere: that is no ratio."""
    empty = peers.Answer(orders=((), (), ()), seconds=0.0)
    monkeypatch.setattr(peers, "vroom", lambda _problem, _seconds: empty)
    monkeypatch.setattr(peers, "ortools", lambda _problem, _seconds: empty)
    row = field.measured(ask("field"), "tiny", day(3, 12))
    assert row["no_class_worse_than_vroom"]
    assert "ratio_to_vroom" not in row
    assert row["vroom_cost"] == 0


def test_noon_is_measured_from_the_questions_a_dispatcher_asks():
    problem = day(4, 16)
    row = realtime.measured(ask("realtime"), "tiny", problem, asked=3, again=1, repair_s=0.1)
    assert row["repair_never_worse"] is True
    assert row["slot_windows"] == 25
    assert row["slot_shifts"] == 20
    assert row["insert_median_ms"] <= row["insert_p95_ms"]
    assert row["resolve_over_insert"] == pytest.approx(1000 * row["resolve_s"] / row["insert_median_ms"])
    assert set(realtime.figures([row])) >= {"resolve_over_insert", "resolve_over_slots"}


def test_a_week_is_five_sound_days():
    problem = day(3, 9)
    plan = solve(problem, iterations=200)
    whole, days = week(problem, plan)
    assert verify(whole, days) == ()
    assert days.score.cost == 5 * plan.score.cost
    assert len(compile_problem(whole).ways) == 15
    assert len({job.id for job in emergencies(problem, 4, 0, 3600)}) == 4


def test_growth_is_a_slope_of_logarithms():
    rows = [{"jobs": n, "first_plan_s": n**1.5, "growth_mb": 2.0 * n} for n in (10, 100, 1000)]
    found = growth.figures(rows)
    assert found["first_plan_s_exponent"] == pytest.approx(1.5)
    assert found["growth_mb_exponent"] == pytest.approx(1.0)
    row = growth.row(ask("growth"), "30")
    assert row["verified"]
    assert row["served"] <= 30
    assert row["peak_mb"] > 0


@needs_data
def test_gaps_are_against_the_best_known():
    """A row's gap follows from its duration; one that leaves a request out has none and is counted."""
    row = public.trsp_row(ask("trsp"), "RC207")
    assert row["best_known"] == 2244.095
    if row["unserved"] == 0:
        assert row["gap_pct"] == pytest.approx(100 * (row["duration"] / 2244.095 - 1))
    left_out = {"instance": "x", "unserved": 1}
    found = public.trsp_figures([{"instance": "y", "unserved": 0, "gap_pct": 2.0, "gap_without_service_pct": 3.0}, left_out])
    assert (found["mean_gap_pct"], found["mean_gap_without_service_pct"], found["rows_with_unserved"]) == (2.0, 3.0, 1)
    assert len(SUITES["trsp"].names(ask("trsp"))) == 20


def test_ratios_to_pyvrp_come_from_the_gaps():
    rows = [{"instance": "a", "gap_pct": 10.0, "pyvrp_gap_pct": 0.0}, {"instance": "b", "gap_pct": 5.0}]
    assert public.vrplib_figures(rows)["ratios_to_pyvrp"] == {"a": pytest.approx(1.1)}


def test_a_result_says_how_it_came_about(tmp_path, capsys):
    """Rows in the order asked for, the protocol beside them, and the same in the file."""
    suite = Suite(words="A  test.", names=lambda a: a.chosen(["x", "y"]), row=lambda _a, n: {"n": n}, figures=len_of, seconds=1.0)
    seen = []
    result = run(suite, ask("trsp", seeds=(1, 2), only=("y",)), seen.append)
    assert seen == list(result.rows) == [{"n": "y"}]
    show(result)
    assert "A test." in capsys.readouterr().out
    assert result.protocol["words"] == "A test."
    assert result.protocol["seeds"] == (1, 2)
    assert {"ortools", "pyvrp", "pyvroom"} <= result.protocol["versions"].keys()
    write(result, tmp_path / "out.json")
    told = msgspec.json.decode((tmp_path / "out.json").read_bytes())
    assert (told["count"], told["ratios"], told["rows"]) == (1, {}, [{"n": "y"}])
    assert told["protocol"]["seconds"] == 0.2
    with pytest.raises(ValueError, match="trsp has no z"):
        ask("trsp", only=("z",)).chosen(["x"])


def len_of(rows):
    return {"count": len(rows)}


def test_the_command_stops_in_words(tmp_path):
    for arguments, told in (
        (["--suite", "none"], "there is no suite"),
        (["--suite", "trsp", "--data", str(tmp_path)], "is not there"),
    ):
        done = CliRunner().invoke(app, ["bench", "dispatch", *arguments])
        assert done.exit_code == 2
        assert told in " ".join(done.output.replace("│", " ").split())
    with pytest.raises(ValueError, match="growth has no 7"):
        measure("growth", data=DATA, seconds=None, seeds=(1,), threads=1, only=("7",), jobs=1, json=None)


def test_small_helpers():
    assert p95(list(range(1, 101))) == 95
    assert p95([3.0]) == 3.0
    assert (words(None), words((1, 2)), words(2.0), words({"a": 1})) == ("", "1/2", "2.000", "a 1")
    assert all(a < b for a, b in pairwise([Score(promises=0, unserved=(0, n), late=0, moves=0, cost=9 - n) for n in range(3)]))
