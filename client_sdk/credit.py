"""What became of the leads that a person captured, and what they earn by them, as their device knows it without any signal."""

import msgspec

from client_sdk.query import col
from client_sdk.replica import Replica
from sync.entities import Incentive, Lead
from sync.entities.credit import Balance, balance
from sync.entities.flows import LeadStatus


class LeadCredit(msgspec.Struct, frozen=True):
    """A lead of one's own: where it stands, what is expected of it and owed for it, and the ledger's last words about it."""

    lead: str
    need: str
    status: LeadStatus
    balance: Balance
    last: str = ""


def leads(replica: Replica) -> list[LeadCredit]:
    """Every lead that the device's user captured, the newest first."""
    mine = _lines(replica)
    found = []
    for lead in replica.query(Lead, col(Lead.captured_by).has(_me(replica)), order_by=col(Lead.captured_at).descending()):
        lines = {line_id: line for line_id, line in mine.items() if line.lead == lead.id}
        last = max(lines.values(), key=lambda line: line.at).basis if lines else ""
        found.append(LeadCredit(lead.id, lead.fields.need, lead.fields.status, balance(lines), last))
    return found


def total(replica: Replica) -> Balance:
    """What all of it comes to."""
    return balance(_lines(replica))


def _lines(replica: Replica) -> dict[str, Incentive]:
    return {line.id: line.fields for line in replica.query(Incentive, col(Incentive.user).is_(_me(replica)))}


def _me(replica: Replica) -> str:
    identity = replica.identity()
    return identity.user if identity else ""
