"""Who wins: `settle` as a table, and every life cycle."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.entities.flows import (
    ABSENCE,
    APPOINTMENT,
    APPROVAL,
    CASE,
    CONFLICT,
    CONTRACT,
    LEAD,
    OFFER,
    OPPORTUNITY,
    ORDER,
    PUBLICATION,
    QUOTE,
    RECOMMENDATION,
    WORK_ORDER,
)
from sync.policies import (
    NOBODY,
    PEOPLE,
    Flow,
    Kind,
    Policy,
    Role,
    Side,
    Verdict,
    Write,
    append_only,
    field_wins,
    last_writer,
    lifecycle,
    manual,
    office_wins,
    server_only,
    settle,
    side_of,
    surpasses,
)
from sync.schema import REGISTRY

FLOWS = {
    "appointment": APPOINTMENT,
    "work_order": WORK_ORDER,
    "lead": LEAD,
    "opportunity": OPPORTUNITY,
    "quote": QUOTE,
    "conflict": CONFLICT,
    "case": CASE,
    "contract": CONTRACT,
    "publication": PUBLICATION,
    "offer": OFFER,
    "recommendation": RECOMMENDATION,
    "order": ORDER,
    "absence": ABSENCE,
    "approval": APPROVAL,
}
STATES = [(name, state) for name, flow in FLOWS.items() for state in flow.rank]
FIELD, DESK, RULE = Side.FIELD, Side.OFFICE, Side.SERVER
TAKE, KEEP, WAIT, CONTAINED, FOLLOW = Verdict

# Settling ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "current", "incoming", "verdict"),
    [
        (last_writer(), (FIELD, 1), (DESK, 2), TAKE),
        (last_writer(), (FIELD, 2), (DESK, 1), KEEP),
        (last_writer(), (DESK, 1), (FIELD, 2), TAKE),
        (last_writer(), (FIELD, 1), (FIELD, 2), TAKE),
        (last_writer(), (FIELD, 1), (RULE, 2), KEEP),
        (last_writer(), (RULE, 2), (FIELD, 1), TAKE),
        (last_writer(), (RULE, 1), (RULE, 2), TAKE),
        (office_wins(), (FIELD, 2), (DESK, 1), TAKE),
        (office_wins(), (DESK, 1), (FIELD, 2), KEEP),
        (office_wins(), (DESK, 1), (DESK, 2), TAKE),
        (office_wins(), (DESK, 2), (DESK, 1), KEEP),
        (office_wins(), (FIELD, 1), (FIELD, 2), TAKE),
        (office_wins(), (FIELD, 1), (RULE, 2), KEEP),
        (office_wins(), (RULE, 2), (DESK, 1), TAKE),
        (field_wins(), (DESK, 2), (FIELD, 1), TAKE),
        (field_wins(), (FIELD, 1), (DESK, 2), KEEP),
        (field_wins(), (FIELD, 1), (FIELD, 2), TAKE),
        (field_wins(), (DESK, 1), (DESK, 2), TAKE),
        (field_wins(), (DESK, 1), (RULE, 2), KEEP),
        (field_wins(), (RULE, 2), (FIELD, 1), TAKE),
        (manual(), (FIELD, 1), (DESK, 2), WAIT),
        (manual(), (RULE, 1), (DESK, 2), WAIT),
        (append_only(), (FIELD, 1), (DESK, 2), KEEP),
        (append_only(), (FIELD, 2), (FIELD, 1), KEEP),
        (server_only(), (RULE, 1), (RULE, 2), TAKE),
        (server_only(), (RULE, 2), (RULE, 1), KEEP),
    ],
)
def test_who_wins_by_policy_side_and_time(policy: Policy, current: Any, incoming: Any, verdict: Verdict) -> None:
    assert settle(policy, Write("a", current[1], 1, current[0]), Write("b", incoming[1], 2, incoming[0])) is verdict


@pytest.mark.parametrize(
    ("role", "side"),
    [
        (Role.TECHNICIAN, FIELD),
        (Role.REP, FIELD),
        (Role.DISPATCHER, DESK),
        (Role.MANAGER, DESK),
        (Role.ADMINISTRATOR, DESK),
        (Role.SERVER, RULE),
    ],
)
def test_every_role_stands_on_one_side(role: Role, side: Side) -> None:
    assert side_of(role) is side


writes = st.builds(
    lambda stamp, device, side: Write((stamp, device), stamp, device, side),
    st.integers(0, 3),
    st.integers(1, 3),
    st.sampled_from(Side),
)


@given(st.sampled_from([last_writer(), office_wins(), field_wins(), server_only()]), writes, writes, writes)
def test_winning_is_a_total_order(policy: Policy, a: Write, b: Write, c: Write) -> None:
    """Of two different writes exactly one wins, whichever came first; and who beats the winner beats the loser."""
    side = {write.device: write.side for write in (a, b, c)}
    a, b, c = (Write(w.value, w.stamp, w.device, side[w.device]) for w in (a, b, c))

    def beats(x: Write, y: Write) -> bool:
        return settle(policy, y, x) is TAKE

    assert not beats(a, a)
    if a != b:
        assert beats(a, b) is not beats(b, a)
    if beats(a, b) and beats(b, c):
        assert beats(a, c)


@pytest.mark.parametrize(
    ("current", "value", "highest", "lowest"),
    [
        (None, 1, True, True),
        (1, 2, True, False),
        (2, 1, False, True),
        (1, 1, False, False),
        (1, None, False, False),
        (None, None, False, False),
    ],
)
def test_an_extreme_only_moves_outwards(current: int | None, value: int | None, highest: bool, lowest: bool) -> None:
    assert surpasses(Kind.HIGHEST, current, value) is highest
    assert surpasses(Kind.LOWEST, current, value) is lowest


# Life cycles ---------------------------------------------------------------------------------------------------------------


def test_every_life_cycle_in_use_is_tested_here() -> None:
    flows = {field.policy.flow for spec in REGISTRY.values() for field in spec.fields.values()} - {None}
    assert flows == set(FLOWS.values())


@pytest.mark.parametrize("name", FLOWS)
def test_every_state_is_ranked_and_can_be_reached(name: str) -> None:
    flow = FLOWS[name]
    states = set(flow.rank)
    assert {flow.initial, *flow.moves} | {after for afters in flow.moves.values() for after in afters} == states
    reached, fresh = {flow.initial}, [flow.initial]
    while fresh:
        new = set(flow.moves.get(fresh.pop(), {})) - reached
        reached |= new
        fresh += new
    # A conflict that a policy settled is born settled: the server's right, not a move.
    assert states - reached <= ({"settled"} if flow is CONFLICT else set())


@pytest.mark.parametrize("name", FLOWS)
def test_ranks_tell_apart_all_but_the_ends_that_a_person_must_choose_between(name: str) -> None:
    flow = FLOWS[name]
    equal = {frozenset((a, b)) for a in flow.rank for b in flow.rank if a != b and flow.rank[a] == flow.rank[b]}
    assert equal == ({frozenset(("won", "lost"))} if flow is OPPORTUNITY else set())


@pytest.mark.parametrize("name", FLOWS)
def test_every_state_can_be_entered_by_somebody_and_moves_name_their_roles(name: str) -> None:
    flow = FLOWS[name]
    for before, afters in flow.moves.items():
        assert before not in afters
        for after, roles in afters.items():
            assert roles != NOBODY
            assert flow.allows(before, after, Role.SERVER)
            assert all(flow.allows(before, after, role) and flow.enters(after, role) for role in roles)
            for role in PEOPLE - roles:
                assert not flow.allows(before, after, role)


@given(st.sampled_from(sorted(FLOWS)), st.data())
def test_of_two_states_the_same_one_stands_whichever_came_first(name: str, data: st.DataObject) -> None:
    flow = FLOWS[name]
    one, other = (data.draw(st.sampled_from(sorted(flow.rank))) for _ in range(2))
    if one != other:
        assert _stands(flow, one, other) == _stands(flow, other, one)


def _stands(flow: Flow, current: str, incoming: str) -> str | None:
    """The state that stands after a race; None if it waits for a person."""
    verdict = settle(lifecycle(flow), Write(current, 1, 1, FIELD), Write(incoming, 2, 2, DESK))
    return None if verdict is WAIT else incoming if verdict in (TAKE, FOLLOW) else current


@pytest.mark.parametrize(
    ("name", "one", "other", "stands"),
    [
        # 24: reassigned (planned anew) while the first technician works or has finished
        ("appointment", "completed", "unscheduled", "completed"),
        ("appointment", "completed", "scheduled", "completed"),
        ("appointment", "completed", "dispatched", "completed"),
        ("appointment", "in_progress", "dispatched", "in_progress"),
        ("appointment", "accepted", "dispatched", "accepted"),
        ("appointment", "accepted", "scheduled", "accepted"),
        ("appointment", "rejected", "unscheduled", "unscheduled"),
        ("appointment", "rejected", "scheduled", "scheduled"),
        # 26: canceled while the technician is on the way, at work, or done
        ("appointment", "canceled", "accepted", "canceled"),
        ("appointment", "canceled", "traveling", "canceled"),
        ("appointment", "canceled", "on_site", "canceled"),
        ("appointment", "canceled", "in_progress", "in_progress"),
        ("appointment", "canceled", "paused", "paused"),
        ("appointment", "canceled", "completed", "completed"),
        ("appointment", "canceled", "cannot_complete", "cannot_complete"),
        ("appointment", "cancel_requested", "completed", "completed"),
        ("appointment", "cancel_requested", "in_progress", "in_progress"),
        ("appointment", "cannot_complete", "completed", "completed"),
        ("appointment", "in_progress", "paused", "paused"),
        ("work_order", "canceled", "in_progress", "in_progress"),
        ("work_order", "canceled", "work_done", "work_done"),
        ("work_order", "canceled", "on_hold", "canceled"),
        ("work_order", "in_progress", "work_done", "work_done"),
        ("work_order", "approved", "work_done", "approved"),
        # 28: signed against withdrawn
        ("quote", "signed", "withdrawn", "signed"),
        ("quote", "signed", "declined", "signed"),
        ("quote", "withdrawn", "declined", "declined"),
        # 30: the same lead twice
        ("lead", "qualified", "duplicate", "duplicate"),
        ("lead", "converted", "duplicate", "converted"),
        ("lead", "qualified", "disqualified", "disqualified"),
        ("lead", "won", "lost", "won"),
        # 32: won against lost is for a person
        ("opportunity", "won", "lost", None),
        ("opportunity", "won", "negotiation", "won"),
        ("opportunity", "prospect", "quoted", "quoted"),
        ("opportunity", "lost", "prospect", "lost"),
        ("conflict", "resolved", "open", "resolved"),
        ("conflict", "resolved", "settled", "resolved"),
    ],
)
def test_what_stands_when_two_ends_meet(name: str, one: str, other: str, stands: str | None) -> None:
    assert _stands(FLOWS[name], one, other) == stands
    assert _stands(FLOWS[name], other, one) == stands


@pytest.mark.parametrize(("name", "state"), STATES)
def test_a_fact_of_execution_is_never_undone_by_the_plan(name: str, state: str) -> None:
    """The rule behind every race, for appointments: what happened outranks every change of plan."""
    done = ("in_progress", "paused", "cannot_complete", "completed")
    planned = ("unscheduled", "scheduled", "dispatched", "rejected", "canceled")
    if name == "appointment" and state in planned:
        for fact in done:
            assert _stands(APPOINTMENT, state, fact) == fact
            assert _stands(APPOINTMENT, fact, state) == fact
