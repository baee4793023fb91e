"""What customers think of a visit: asked with their consent, answered once by a link, and a low score is looked after."""

from collections.abc import Iterable
from typing import Final

import msgspec

from server.author import create, update
from server.domain import rulebook
from server.domain.bodies import AskAfterVisit
from server.domain.consent import decide
from server.domain.event import Event, Rules
from server.domain.look import Seen, look
from server.public_links import token_for
from server.storage import outbox
from server.storage.outbox import Message
from server.storage.tables import projections
from sync.entities.flows import AppointmentStatus
from sync.entities.service import SurveyKind
from sync.protocol import Change
from sync.schema import Text

PURPOSE: Final = "survey"
CHANNEL: Final = "email"
ASKED: Final = "survey.asked"
FRESH_MS: Final = 7 * 86_400_000
"""Nobody is asked about a visit that is longer ago."""
BOUNDS: Final = {SurveyKind.NPS: (0, 10), SurveyKind.CSAT: (1, 5)}
LOW: Final = {SurveyKind.NPS: 6, SurveyKind.CSAT: 2}
"""The highest score that is low."""
_QUESTIONS: Final = {
    SurveyKind.NPS: "How likely are you to recommend us, from 0 (not at all) to 10 (certainly)?",
    SurveyKind.CSAT: "How satisfied are you with our visit, from 1 (not at all) to 5 (fully)?",
}


async def ask_customer(event: Event) -> Iterable[Change]:
    """A completed visit is asked about once, if the house asks and a contact has agreed to be asked."""
    if event.fields.get("status") != AppointmentStatus.COMPLETED:
        return ()
    tenant, survey_id = event.tenant, f"{event.id}.survey"
    _, house = await rulebook.in_force(tenant, "survey", AskAfterVisit, event.now_ms)
    if house.kind is None or await tenant.raw_record("survey", survey_id) is not None:
        return ()
    visit = await look(tenant, "appointment", event.id)
    order = await look(tenant, "work_order", event.fields["work_order"])
    if visit is None or order is None or visit.at_ms("status") < event.now_ms - FRESH_MS:
        return ()
    contact = await _contact(event, order)
    if contact is None or (house.types and order.get("type") not in house.types):
        return ()
    about = {"account": order.get("account"), "work_order": order.id, "appointment": event.id, "contact": contact}
    return (create("survey", survey_id, **about, kind=house.kind, asked_at=event.now_ms),)


async def _contact(event: Event, order: Seen) -> str | None:
    """Who reported the case, else the account's first contact; only somebody who has agreed."""
    case = await look(event.tenant, "case", order.get("case"))
    people = await event.tenant.rows("contact", [projections["contact"].c.account == order.get("account")])
    first = case.get("contact") if case else None
    agreed = [one.id for one in people if decide(one.consent, CHANNEL, PURPOSE).allowed]
    return first if first in agreed else min(agreed, default=None)


async def send_question(event: Event) -> Iterable[Change]:
    """The question goes out with its link, once."""
    contact = await look(event.tenant, "contact", event.fields.get("contact"))
    if contact is None or event.fields.get("answered_at") is not None:
        return ()
    version, house = await rulebook.in_force(event.tenant, "survey", AskAfterVisit, event.now_ms)
    decision = decide(contact.get("consent"), CHANNEL, PURPOSE)
    address = next(iter(contact.get("emails")), "")
    reason = "" if decision.allowed else decision.reason
    reason = reason or ("" if address else "no e-mail address is known") or ("" if house.page else "the rule names no page")
    link = house.page.replace("{token}", await token_for(event.tenant, "survey", event.id))
    question = _QUESTIONS[SurveyKind(event.fields["kind"])]
    message = Message(
        event=f"{ASKED}:{event.id}",
        kind=ASKED,
        channel=CHANNEL,
        recipient=contact.id,
        address=address,
        account=event.fields["account"],
        entity="survey",
        subject=event.id,
        title="How was our visit?",
        body=f"Dear {contact.get('name')},\n\n{question}\n\n{link}\n",
        rule_version=version,
        state=outbox.SKIPPED if reason else outbox.DUE,
        reason=reason,
    )
    await outbox.put(event.tenant, [message], event.now_ms)
    return ()


async def care(event: Event) -> Iterable[Change]:
    """A low score opens one case."""
    survey = await look(event.tenant, "survey", event.id)
    if survey is None or survey.get("score") is None or survey.get("case") is not None:
        return ()
    kind = SurveyKind(survey.get("kind"))
    if survey.get("score") > LOW[kind]:
        return ()
    case_id, score = f"{survey.id}.case", f"{kind.upper()} {survey.get('score')}"
    noted = update("survey", survey.id, survey.seq, case=case_id)
    if await event.tenant.raw_record("case", case_id) is not None:
        return (noted,)
    order = await look(event.tenant, "work_order", survey.get("work_order"))
    about = {name: order.get(name) if order else None for name in ("site", "asset")}
    opened = create(
        "case",
        case_id,
        **about,
        account=survey.get("account"),
        contact=survey.get("contact"),
        subject=f"Low score after a visit: {score}",
        description=survey.get("words"),
        priority=2,
        origin="survey",
        opened_at=survey.get("answered_at"),
        custom={"survey": survey.id, "work_order": survey.get("work_order")},
    )
    return (opened, noted)


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a customer says: the score within the bounds of the question."""

    score: int
    words: Text = ""


def answered(survey: Seen, answer: Answer, now_ms: int) -> tuple[Change, ...]:
    """The answer as a change. Raises `OutOfBounds`."""
    low, high = BOUNDS[SurveyKind(survey.get("kind"))]
    if not low <= answer.score <= high:
        raise OutOfBounds(f"a score from {low} to {high}")
    return (update("survey", survey.id, survey.seq, score=answer.score, words=answer.words, answered_at=now_ms),)


class OutOfBounds(ValueError):
    """No score of this kind of question."""


RULES: Final[Rules] = {"appointment": (ask_customer,), "survey": (send_question, care)}
