"""The life cycles: who may move what from where to where, and what wins when two ends meet."""

import enum
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from sync.policies import FIELD, MANAGERS, OFFICE, PEOPLE, SALES, SERVER, Flow, Role, Roles

_Moves: TypeAlias = dict[str, dict[str, Roles]]

TECHNICIAN: Final[Roles] = frozenset({Role.TECHNICIAN})


def _later(states: tuple[str, ...], roles: Roles) -> _Moves:
    """Moves from each state to every later one: steps may be skipped, the gap stays visible in the actual times."""
    return {state: dict.fromkeys(states[at + 1 :], roles) for at, state in enumerate(states)}


def _join(*parts: Mapping[Any, Mapping[Any, Roles]]) -> _Moves:
    moves: _Moves = {}
    for part in parts:
        for before, afters in part.items():
            for after, roles in afters.items():
                moves.setdefault(before, {})[after] = moves.get(before, {}).get(after, frozenset()) | roles
    return moves


class AppointmentStatus(enum.StrEnum):
    UNSCHEDULED = "unscheduled"
    SCHEDULED = "scheduled"
    DISPATCHED = "dispatched"
    REJECTED = "rejected"
    ACCEPTED = "accepted"
    TRAVELING = "traveling"
    ON_SITE = "on_site"
    CANCELED = "canceled"
    CANCEL_REQUESTED = "cancel_requested"
    IN_PROGRESS = "in_progress"
    PAUSED = "paused"
    CANNOT_COMPLETE = "cannot_complete"
    COMPLETED = "completed"


_A = AppointmentStatus
_PLANNED = (_A.UNSCHEDULED, _A.SCHEDULED, _A.DISPATCHED)
_EXECUTED = (_A.ACCEPTED, _A.TRAVELING, _A.ON_SITE, _A.IN_PROGRESS)
_ENDS = (_A.CANNOT_COMPLETE, _A.COMPLETED)

APPOINTMENT: Final = Flow(
    initial=_A.UNSCHEDULED,
    moves=_join(
        _later(_PLANNED, OFFICE),
        {_A.SCHEDULED: {_A.UNSCHEDULED: OFFICE}, _A.DISPATCHED: {_A.UNSCHEDULED: OFFICE, _A.SCHEDULED: OFFICE}},
        _later((_A.SCHEDULED, *_EXECUTED), TECHNICIAN),
        _later((_A.DISPATCHED, *_EXECUTED), TECHNICIAN),
        {_A.DISPATCHED: {_A.REJECTED: TECHNICIAN}, _A.REJECTED: {_A.UNSCHEDULED: PEOPLE, _A.SCHEDULED: OFFICE}},
        {state: dict.fromkeys(_ENDS, TECHNICIAN) for state in (_A.SCHEDULED, _A.DISPATCHED, *_EXECUTED, _A.PAUSED)},
        {_A.IN_PROGRESS: {_A.PAUSED: TECHNICIAN}, _A.PAUSED: {_A.IN_PROGRESS: TECHNICIAN}},
        {state: {_A.CANCELED: OFFICE} for state in (*_PLANNED, _A.REJECTED, _A.ACCEPTED, _A.TRAVELING, _A.ON_SITE)},
        {_A.IN_PROGRESS: {_A.CANCEL_REQUESTED: OFFICE}, _A.PAUSED: {_A.CANCEL_REQUESTED: OFFICE}},
        {_A.CANCEL_REQUESTED: {_A.CANCELED: PEOPLE, _A.IN_PROGRESS: TECHNICIAN} | dict.fromkeys(_ENDS, TECHNICIAN)},
        {_A.ACCEPTED: {_A.SCHEDULED: OFFICE, _A.DISPATCHED: OFFICE}, _A.COMPLETED: {_A.IN_PROGRESS: MANAGERS}},
    ),
    rank={
        _A.UNSCHEDULED: 0, _A.SCHEDULED: 1, _A.DISPATCHED: 2, _A.REJECTED: 3, _A.ACCEPTED: 4, _A.TRAVELING: 5, _A.ON_SITE: 6,
        _A.CANCELED: 7, _A.CANCEL_REQUESTED: 8, _A.IN_PROGRESS: 9, _A.PAUSED: 10, _A.CANNOT_COMPLETE: 11, _A.COMPLETED: 12,
    },
    once=frozenset({_A.COMPLETED}),
)  # fmt: skip


class WorkOrderStatus(enum.StrEnum):
    NEW = "new"
    OPEN = "open"
    SCHEDULED = "scheduled"
    IN_PROGRESS = "in_progress"
    ON_HOLD = "on_hold"
    WORK_DONE = "work_done"
    APPROVED = "approved"
    POSTED = "posted"
    CANCELED = "canceled"


_W = WorkOrderStatus
_WORK = (_W.NEW, _W.OPEN, _W.SCHEDULED, _W.IN_PROGRESS, _W.WORK_DONE)

WORK_ORDER: Final = Flow(
    initial=_W.NEW,
    moves=_join(
        _later(_WORK, OFFICE),
        _later((_W.OPEN, _W.SCHEDULED, _W.IN_PROGRESS, _W.WORK_DONE), TECHNICIAN),
        {_W.SCHEDULED: {_W.OPEN: OFFICE}},
        {_W.IN_PROGRESS: {_W.ON_HOLD: OFFICE | FIELD}, _W.ON_HOLD: {_W.IN_PROGRESS: OFFICE | FIELD, _W.WORK_DONE: OFFICE | FIELD}},
        {_W.WORK_DONE: {_W.APPROVED: MANAGERS, _W.IN_PROGRESS: OFFICE}, _W.APPROVED: {_W.POSTED: SERVER}},
        {_W.CANCELED: {_W.WORK_DONE: SERVER}},
        {state: {_W.CANCELED: OFFICE} for state in (_W.NEW, _W.OPEN, _W.SCHEDULED, _W.ON_HOLD)},
    ),
    rank={
        _W.NEW: 0, _W.OPEN: 1, _W.SCHEDULED: 2, _W.CANCELED: 3, _W.ON_HOLD: 4, _W.IN_PROGRESS: 5, _W.WORK_DONE: 6, _W.APPROVED: 7,
        _W.POSTED: 8,
    },
)  # fmt: skip


class LeadStatus(enum.StrEnum):
    CAPTURED = "captured"
    QUALIFIED = "qualified"
    DUPLICATE = "duplicate"
    DISQUALIFIED = "disqualified"
    CONVERTED = "converted"
    WON = "won"
    LOST = "lost"


_L = LeadStatus

LEAD: Final = Flow(
    initial=_L.CAPTURED,
    moves=_join(
        _later((_L.CAPTURED, _L.QUALIFIED, _L.CONVERTED), SALES),
        {_L.CAPTURED: {_L.DISQUALIFIED: SALES, _L.DUPLICATE: SERVER}, _L.QUALIFIED: {_L.DISQUALIFIED: SALES, _L.DUPLICATE: SERVER}},
        {_L.DUPLICATE: {_L.CAPTURED: SALES}, _L.DISQUALIFIED: {_L.QUALIFIED: SALES}},
        {_L.CONVERTED: {_L.WON: SERVER, _L.LOST: SERVER}},
        {_L.LOST: {_L.CONVERTED: SERVER, _L.WON: SERVER}, _L.WON: {_L.CONVERTED: SERVER, _L.LOST: SERVER}},
    ),
    rank={
        _L.CAPTURED: 0, _L.QUALIFIED: 1, _L.DUPLICATE: 2, _L.DISQUALIFIED: 3, _L.CONVERTED: 4, _L.LOST: 5, _L.WON: 6,
    },
)  # fmt: skip


class Stage(enum.StrEnum):
    PROSPECT = "prospect"
    QUALIFIED = "qualified"
    QUOTED = "quoted"
    NEGOTIATION = "negotiation"
    WON = "won"
    LOST = "lost"


_S = Stage
_OPEN_STAGES = (_S.PROSPECT, _S.QUALIFIED, _S.QUOTED, _S.NEGOTIATION)

OPPORTUNITY: Final = Flow(
    initial=_S.PROSPECT,
    moves=_join(
        _later(_OPEN_STAGES, SALES),
        {state: {_S.WON: SALES, _S.LOST: SALES} for state in _OPEN_STAGES},
        {_S.NEGOTIATION: {_S.QUOTED: SALES}, _S.WON: {_S.NEGOTIATION: MANAGERS}, _S.LOST: {_S.NEGOTIATION: MANAGERS}},
    ),
    rank={_S.PROSPECT: 0, _S.QUALIFIED: 1, _S.QUOTED: 2, _S.NEGOTIATION: 3, _S.WON: 4, _S.LOST: 4},
)


class QuoteStatus(enum.StrEnum):
    DRAFT = "draft"
    SENT = "sent"
    SIGNED = "signed"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


_Q = QuoteStatus
FROZEN_QUOTE: Final = (_Q.SENT, _Q.SIGNED, _Q.DECLINED, _Q.WITHDRAWN)

QUOTE: Final = Flow(
    initial=_Q.DRAFT,
    moves={
        _Q.DRAFT: {_Q.SENT: SALES, _Q.SIGNED: PEOPLE, _Q.WITHDRAWN: SALES},
        _Q.SENT: {_Q.SIGNED: PEOPLE, _Q.DECLINED: PEOPLE, _Q.WITHDRAWN: SALES},
    },
    rank={_Q.DRAFT: 0, _Q.SENT: 1, _Q.WITHDRAWN: 2, _Q.DECLINED: 3, _Q.SIGNED: 4},
)


class ConflictStatus(enum.StrEnum):
    SETTLED = "settled"
    OPEN = "open"
    RESOLVED = "resolved"


_C = ConflictStatus

CONFLICT: Final = Flow(
    initial=_C.OPEN,
    moves={
        _C.OPEN: {_C.RESOLVED: PEOPLE, _C.SETTLED: SERVER},
        _C.SETTLED: {_C.RESOLVED: PEOPLE, _C.OPEN: SERVER},
        _C.RESOLVED: {_C.OPEN: PEOPLE},
    },
    rank={_C.SETTLED: 0, _C.OPEN: 1, _C.RESOLVED: 2},
)


class CaseStatus(enum.StrEnum):
    NEW = "new"
    IN_PROGRESS = "in_progress"
    WAITING = "waiting"
    CANCELED = "canceled"
    RESOLVED = "resolved"
    CLOSED = "closed"


_K = CaseStatus

CASE: Final = Flow(
    initial=_K.NEW,
    moves=_join(
        _later((_K.NEW, _K.IN_PROGRESS, _K.RESOLVED), PEOPLE),
        {_K.NEW: {_K.WAITING: PEOPLE}, _K.IN_PROGRESS: {_K.WAITING: PEOPLE}},
        {_K.WAITING: {_K.IN_PROGRESS: PEOPLE, _K.RESOLVED: PEOPLE}},
        {_K.RESOLVED: {_K.CLOSED: OFFICE, _K.IN_PROGRESS: PEOPLE}, _K.CLOSED: {_K.IN_PROGRESS: MANAGERS}},
        {state: {_K.CANCELED: OFFICE} for state in (_K.NEW, _K.IN_PROGRESS, _K.WAITING)},
    ),
    rank={_K.NEW: 0, _K.WAITING: 1, _K.IN_PROGRESS: 2, _K.CANCELED: 3, _K.RESOLVED: 4, _K.CLOSED: 5},
)


class ContractStatus(enum.StrEnum):
    DRAFT = "draft"
    ACTIVE = "active"
    EXPIRED = "expired"
    RENEWED = "renewed"
    CANCELED = "canceled"


_N = ContractStatus

CONTRACT: Final = Flow(
    initial=_N.DRAFT,
    moves={
        _N.DRAFT: {_N.ACTIVE: OFFICE | SALES, _N.CANCELED: OFFICE},
        _N.ACTIVE: {_N.EXPIRED: SERVER, _N.RENEWED: SERVER, _N.CANCELED: MANAGERS},
        _N.EXPIRED: {_N.RENEWED: SERVER},
    },
    rank={_N.DRAFT: 0, _N.ACTIVE: 1, _N.EXPIRED: 2, _N.RENEWED: 3, _N.CANCELED: 4},
)


class PublicationStatus(enum.StrEnum):
    DRAFT = "draft"
    PUBLISHED = "published"
    RETIRED = "retired"


_P = PublicationStatus

PUBLICATION: Final = Flow(
    initial=_P.DRAFT,
    moves={_P.DRAFT: {_P.PUBLISHED: OFFICE}, _P.PUBLISHED: {_P.RETIRED: OFFICE}, _P.RETIRED: {_P.PUBLISHED: OFFICE}},
    rank={_P.DRAFT: 0, _P.PUBLISHED: 1, _P.RETIRED: 2},
)


class OfferStatus(enum.StrEnum):
    OPEN = "open"
    WITHDRAWN = "withdrawn"
    LATER = "later"
    DECLINED = "declined"
    TAKEN = "taken"


_O = OfferStatus

OFFER: Final = Flow(
    initial=_O.OPEN,
    moves={
        _O.OPEN: {_O.WITHDRAWN: SERVER, _O.LATER: PEOPLE, _O.DECLINED: PEOPLE, _O.TAKEN: PEOPLE},
        _O.WITHDRAWN: {_O.OPEN: SERVER, _O.TAKEN: PEOPLE},
        _O.LATER: {_O.DECLINED: PEOPLE, _O.TAKEN: PEOPLE},
        _O.DECLINED: {_O.TAKEN: PEOPLE},
    },
    rank={_O.OPEN: 0, _O.WITHDRAWN: 1, _O.LATER: 2, _O.DECLINED: 3, _O.TAKEN: 4},
)


class RecommendationStatus(enum.StrEnum):
    OPEN = "open"
    DROPPED = "dropped"
    DONE = "done"


_R = RecommendationStatus

RECOMMENDATION: Final = Flow(
    initial=_R.OPEN,
    moves={_R.OPEN: {_R.DROPPED: PEOPLE, _R.DONE: PEOPLE}, _R.DROPPED: {_R.OPEN: PEOPLE, _R.DONE: PEOPLE}},
    rank={_R.OPEN: 0, _R.DROPPED: 1, _R.DONE: 2},
)


class OrderStatus(enum.StrEnum):
    PLACED = "placed"
    FULFILLED = "fulfilled"
    CANCELED = "canceled"


_D = OrderStatus

ORDER: Final = Flow(
    initial=_D.PLACED,
    moves={_D.PLACED: {_D.FULFILLED: OFFICE | SALES, _D.CANCELED: MANAGERS}, _D.FULFILLED: {_D.CANCELED: MANAGERS}},
    rank={_D.PLACED: 0, _D.FULFILLED: 1, _D.CANCELED: 2},
)


class AbsenceStatus(enum.StrEnum):
    REQUESTED = "requested"
    REFUSED = "refused"
    APPROVED = "approved"
    WITHDRAWN = "withdrawn"


_B = AbsenceStatus

ABSENCE: Final = Flow(
    initial=_B.REQUESTED,
    moves={
        _B.REQUESTED: {_B.APPROVED: OFFICE, _B.REFUSED: OFFICE, _B.WITHDRAWN: PEOPLE},
        _B.APPROVED: {_B.WITHDRAWN: PEOPLE},
        _B.REFUSED: {_B.APPROVED: OFFICE},
    },
    rank={_B.REQUESTED: 0, _B.REFUSED: 1, _B.APPROVED: 2, _B.WITHDRAWN: 3},
)


class ApprovalStatus(enum.StrEnum):
    NOT_NEEDED = "not_needed"
    REQUIRED = "required"
    REFUSED = "refused"
    APPROVED = "approved"


_V = ApprovalStatus

APPROVAL: Final = Flow(
    initial=_V.NOT_NEEDED,
    moves={
        _V.NOT_NEEDED: {_V.REQUIRED: SERVER},
        _V.REQUIRED: {_V.APPROVED: MANAGERS, _V.REFUSED: MANAGERS, _V.NOT_NEEDED: SERVER},
        _V.REFUSED: {_V.APPROVED: MANAGERS, _V.REQUIRED: SERVER, _V.NOT_NEEDED: SERVER},
        _V.APPROVED: {_V.REQUIRED: SERVER, _V.NOT_NEEDED: SERVER},
    },
    rank={_V.NOT_NEEDED: 0, _V.REQUIRED: 1, _V.REFUSED: 2, _V.APPROVED: 3},
)
