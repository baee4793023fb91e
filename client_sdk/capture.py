"""What a visit brings in for sales, in one call: a lead with photo and consent, or the answer to an offer."""

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from client_sdk.draft import Draft
from client_sdk.errors import NotEnrolled, NotFound
from client_sdk.items import E
from sync.entities import Appointment, Lead, Offer, Product, Signature, WorkOrder
from sync.entities.customers import Consent
from sync.entities.flows import OfferStatus
from sync.links import scope_name

if TYPE_CHECKING:
    from client_sdk.replica import Replica


class Agreed(msgspec.Struct, frozen=True):
    """What the customer agreed to: to be addressed by `channel` ("phone", "mail") for `purpose`.

    The proof is the signature under `words`, if there is a `signer`; else the words themselves, such as "said so on site".
    """

    channel: str
    purpose: str = "offers"
    words: str = ""
    signer: str = ""
    strokes: str = ""


class Photo(msgspec.Struct, frozen=True):
    """A picture: its bytes, or the file to copy it from."""

    content: bytes | Path
    media_type: str = "image/jpeg"
    caption: str = ""


def capture_lead(
    replica: "Replica", lead: Lead, now_ms: int, *, visit: str | None, offer: str | None, photo: Photo | None, agreed: Agreed | None
) -> str:
    """See `Replica.capture_lead`."""
    me = _me(replica)
    fields = _completed(replica, lead, visit, offer)
    captured = tuple(sorted({*lead.captured_by, me}))
    with replica.edit("capture a lead") as tx:
        lead_id = tx.create(msgspec.structs.replace(fields, captured_by=captured, captured_at=lead.captured_at or now_ms))
        if photo is not None:
            picture = replica.attachments.attach(
                tx, photo.content, media_type=photo.media_type, parent=Lead, parent_id=lead_id, caption=photo.caption
            )
            tx.set(Lead, lead_id, photo=picture)
        if agreed is not None:
            tx.set(Lead, lead_id, consent=_consent(tx, lead_id, agreed, now_ms))
        if offer is not None:
            _answer(tx, offer, OfferStatus.TAKEN, me, now_ms)
            tx.set(Offer, offer, lead=lead_id)
    return lead_id


def answer_offer(replica: "Replica", offer: str, status: OfferStatus, now_ms: int, words: str) -> None:
    """See `Replica.answer_offer`."""
    me = _me(replica)
    with replica.edit(f"offer {status.value}") as tx:
        _answer(tx, offer, status, me, now_ms)
        if words:
            tx.set(Offer, offer, answer=words)


def _answer(tx: Draft, offer: str, status: OfferStatus, me: str, now_ms: int) -> None:
    tx.set(Offer, offer, status=status, answered_by=me, answered_at=now_ms)


def _me(replica: "Replica") -> str:
    identity = replica.identity()
    if identity is None:
        raise NotEnrolled("a lead is somebody's: enrol this replica first")
    return identity.user


def _completed(replica: "Replica", lead: Lead, visit: str | None, offer: str | None) -> Lead:
    """What the visit and the offer say already need not be said again; what the caller says stands."""
    said: dict[str, object] = {}
    if offer is not None:
        offered = _held(replica, Offer, offer)
        said |= {"offer": offer, "product": offered.product, "asset": offered.asset, "estimate_cents": offered.value_cents}
        said |= _of_order(replica, offered.work_order)
    if visit is not None:
        said |= {"appointment": visit} | _of_order(
            replica, _held(replica, Appointment, visit).work_order, asset="asset" not in said
        )
    if lead.product and not lead.estimate_cents and "estimate_cents" not in said:
        known = replica.get(Product, lead.product)
        said["estimate_cents"] = known.fields.price_cents if known else 0
    defaults = {name: field.default for name, field in Lead.spec.fields.items()}
    open_fields = {name: value for name, value in said.items() if getattr(lead, name) == defaults[name] and value is not None}
    return msgspec.structs.replace(lead, **open_fields)


def _of_order(replica: "Replica", order_id: str, *, asset: bool = False) -> dict[str, object]:
    order = replica.get(WorkOrder, order_id)
    if order is None:
        return {}
    found: dict[str, object] = {"account": order.fields.account, "site": order.fields.site}
    return found | {"asset": order.fields.asset} if asset else found


def _held(replica: "Replica", entity: type[E], record_id: str) -> E:
    item = replica.get(entity, record_id)
    if item is None:
        raise NotFound(f"this replica holds no {entity.spec.name} {record_id}")
    return item.fields


def _consent(tx: Draft, lead_id: str, agreed: Agreed, now_ms: int) -> Consent:
    proof = agreed.words[:200]
    if agreed.signer:
        said = f"{agreed.channel}\n{agreed.purpose}\n{agreed.words}".encode()
        signature = Signature(
            scope=scope_name("lead", lead_id),
            subject_entity="lead",
            subject=lead_id,
            sha256=sha256(said).hexdigest(),
            signer=agreed.signer,
            at=now_ms,
            strokes=agreed.strokes,
        )
        proof = f"signature:{tx.create(signature)}"
    return Consent(id=tx.new_id(), at=now_ms, channel=agreed.channel, purpose=agreed.purpose, given=True, proof=proof)
