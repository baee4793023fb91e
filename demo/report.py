"""What the demo found, as the JSON file says it and as the table shows it."""

from collections.abc import Iterator
from typing import Final

import msgspec

SHOWN: Final = 12


class Unserved(msgspec.Struct, frozen=True):
    """A visit that the plan leaves out, the rule that stops it, and the nearest change that would let it in."""

    appointment: str
    rule: str
    reason: str
    nearest: str = ""


class Report(msgspec.Struct, frozen=True):
    """Every number here was counted at the end of the run. `problems` says in words what `lost_writes` and its like count."""

    devices: int
    offline_transactions: int
    resent_batches: int
    killed: int
    conflicts: int
    parked: int
    lost_writes: int
    doubled_writes: int
    converged: bool
    jobs_planned: int
    jobs_unserved: tuple[Unserved, ...]
    plan_checked: bool
    leads_captured: int
    leads_won: int
    wall_s: float
    offers_shown: int
    offers_taken: int
    leads_merged: int
    leads_routed: int
    quotes_made: int
    quotes_signed_offline: int
    opportunities_won: int
    credits: int
    clawed_back: int
    transactions: int
    network_faults: int
    records_compared: int
    conflicts_open: int
    conflicts_by_field: dict[str, int]
    parked_reasons: tuple[str, ...]
    jobs_done: int
    plan_wall_s: float
    outcomes_seen_by_technicians: int
    stock_differences: int
    seed: int
    problems: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Nothing lost, nothing doubled, all devices as the server says, and a plan that breaks no rule."""
        return not (self.lost_writes or self.doubled_writes or self.stock_differences) and self.converged and self.plan_checked


def rows_of(report: Report) -> Iterator[tuple[str, str]]:
    """The table at the end."""
    yield "devices, each a process", f"{report.devices}, of which {report.killed} were killed and started again"
    yield "transactions", f"{report.transactions}, of which {report.offline_transactions} written without a network"
    yield "network faults", f"{report.network_faults}; {report.resent_batches} batches sent again that the server already had"
    yield "conflicts", f"{report.conflicts} held, {report.conflicts_open} of them wait for a person"
    yield "parked", f"{report.parked} refused by a rule, kept with the reason"
    yield "lost writes", str(report.lost_writes)
    yield "doubled writes", f"{report.doubled_writes}; stock that does not add up: {report.stock_differences}"
    yield (
        "converged",
        f"{_yes(report.converged)}: {report.records_compared} records on devices compared with the server's, one by one",
    )
    yield (
        "jobs",
        f"{report.jobs_planned} planned, {len(report.jobs_unserved)} left out with a reason, {report.jobs_done} brought to an end",
    )
    yield "plan checked", f"{_yes(report.plan_checked)}: by the server before it was published, by the demo afterwards"
    yield (
        "leads",
        f"{report.leads_captured} captured, {report.leads_won} won; {report.outcomes_seen_by_technicians} seen where captured",
    )
    yield (
        "offers",
        f"{report.offers_shown} shown, {report.offers_taken} taken",
    )
    yield (
        "leads on their way",
        f"{report.leads_routed} routed to a rep, {report.leads_merged} merged with another",
    )
    yield (
        "sold",
        f"{report.quotes_made} quotes, {report.quotes_signed_offline} signed without signal, {report.opportunities_won} deals won",
    )
    yield "credit", f"{report.credits} lines of credit, {report.clawed_back} clawed back"
    yield "wall time", f"{report.wall_s:.1f} s, of which {report.plan_wall_s:.1f} s waiting for the plan"
    for problem in report.problems[:SHOWN]:
        yield "problem", problem


def _yes(value: bool) -> str:  # noqa: FBT001  # a word for a yes or no
    return "yes" if value else "NO"
