"""A lead is captured with one call, offline, under any conflict, and arrives once with its photo and the proof of consent."""

from pathlib import Path

import pytest

from client_sdk import Agreed, FileState, NotFound, Offline, OutboxState, Photo
from sync.entities import Attachment, Lead, Offer, Signature
from sync.entities.flows import LeadStatus, OfferStatus
from sync.entities.sales import Urgency
from sync.protocol import OutcomeKind
from tests.domain.house import NOW_MS, House
from tests.domain.test_offers import planned, staffed


async def test_one_call_from_a_visit_says_it_all(house: House, tmp_path: Path) -> None:
    desk, phone = await staffed(house)
    visit = await planned(house, desk, "W1", asset="M1")
    await phone.sync()
    picture = tmp_path / "rust.jpg"
    picture.write_bytes(b"\xff\xd8 rust")
    lead_id = phone.capture_lead(
        Lead(need="new boiler", product="pump", urgency=Urgency.NOW, estimate_cents=850_000, contact_name="Ines Moe"),
        visit=visit,
        photo=Photo(picture, caption="rust"),
        agreed=Agreed(channel="phone", words="may call about the boiler", signer="Ines Moe", strokes="M0 0L5 5"),
    )
    (sent,) = phone.outbox()
    assert sent.label == "capture a lead", "one transaction: lead, photo and proof stand or fall together"
    await phone.sync()
    assert [one.reasons for one in phone.parked()] == []
    await house.rules_are_done()
    row = (await house.rows("lead"))[lead_id]
    assert (row.account, row.site, row.asset, row.appointment) == ("A1", "S1", "M1", visit)
    assert (row.product, row.urgency, row.estimate_cents, row.captured_at) == ("pump", "now", 850_000, NOW_MS)
    assert row.captured_by == [phone.identity().user]  # type: ignore[union-attr]  # enrolled
    assert (await house.rows("attachment"))[row.photo].parent == lead_id
    (file,) = phone.attachments.queue()
    assert file.state is FileState.WAITING, "the record does not wait for its photo"
    proof = (await house.rows("signature"))[row.consent["proof"].removeprefix("signature:")]
    assert (proof.subject, proof.signer, proof.strokes) == (lead_id, "Ines Moe", "M0 0L5 5")
    assert (row.consent["channel"], row.consent["purpose"], row.consent["given"]) == ("phone", "offers", True)


async def test_an_offer_taken_is_a_lead_with_what_was_offered(house: House) -> None:
    desk, phone = await staffed(house)
    visit = await planned(house, desk, "W1")
    await phone.sync()
    lead_id = phone.capture_lead(
        Lead(need="wants it before winter"), visit=visit, offer="W1.boiler.replace", agreed=Agreed("mail", words="said so on site")
    )
    lead, offer = phone.get(Lead, lead_id), phone.get(Offer, "W1.boiler.replace")
    assert lead
    assert offer
    assert (lead.fields.offer, lead.fields.product, lead.fields.asset) == ("W1.boiler.replace", "boiler", "M1")
    assert lead.fields.estimate_cents == offer.fields.value_cents == 300_000
    assert lead.fields.consent
    assert lead.fields.consent.proof == "said so on site"
    assert (offer.fields.status, offer.fields.lead, offer.fields.answered_at) == (OfferStatus.TAKEN, lead_id, NOW_MS)
    await phone.sync()
    assert [outgoing.kind for outgoing in phone.history()] == [OutcomeKind.APPLIED]


async def test_captured_offline_it_arrives_once_though_replies_are_lost_and_the_order_is_gone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, phone = await staffed(house)
    visit = await planned(house, desk, "W1")
    await phone.sync()
    await house.does(
        desk,
        create_technician := {"entity": "technician", "id": "T2", "create": True, "set": {"name": "Uma"}},
        {"entity": "appointment", "id": visit, "base": 2**50, "set": {"technician": "T2"}},
        {"entity": "account", "id": "A1", "base": 2**50, "set": {"name": "Renamed"}},
    )
    assert create_technician
    lead_id = phone.capture_lead(Lead(need="a second boiler"), visit=visit, photo=Photo(b"\xff\xd8 one"))
    post, lost = phone._session._transport.post, [1, 1]  # type: ignore[union-attr]  # given by the fixture

    async def losing(*arguments: object) -> object:
        answer = await post(*arguments)
        if lost:
            lost.pop()
            raise Offline("the reply is lost")
        return answer

    monkeypatch.setattr(phone._session._transport, "post", losing)
    for _ in range(2):
        with pytest.raises(Offline):
            await phone.sync()
    await phone.sync()
    assert [one.reasons for one in phone.parked()] == []
    await house.rules_are_done()
    assert list(await house.rows("lead")) == [lead_id]
    assert len(await house.rows("attachment")) == 1
    (sent,) = phone.history()
    assert sent.state is OutboxState.DONE
    assert sent.kind is not OutcomeKind.PARKED
    shown = phone.get(Lead, lead_id)
    assert shown, "whoever captured a lead keeps it, whoever has the order now"
    assert shown.fields.status is LeadStatus.CAPTURED


async def test_a_refused_capture_leaves_nothing_behind(house: House) -> None:
    _, phone = await staffed(house)
    with pytest.raises(NotFound):
        phone.capture_lead(Lead(need="x"), visit="no such visit", photo=Photo(b"x"))
    assert phone.outbox() == []
    assert phone.query(Attachment) == phone.query(Signature) == []
