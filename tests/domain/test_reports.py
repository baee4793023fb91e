"""A signed report stands: it says what was signed, and an amendment is another version."""

from pathlib import Path

from conftest import Company
from wire import update

from client_sdk import HttpTransport, Replica, reports
from sync.entities import ServiceReport, Signature
from sync.entities.work import ReportLine, ReportStatus, report_sha256
from tests.domain.service_world import NOW, World


async def test_signed_frozen_amended_and_questioned_where_it_differs(company: Company, tmp_path: Path) -> None:
    world = await World.of(company)
    with Replica.open(tmp_path / "theo", transport=HttpTransport(company.http)) as device:
        await device.enrol("http://server", await company.code(world.field.me.user), "theo")
        await device.sync()
        with device.edit("drafted") as tx:
            lines = {"b": ReportLine(kind="part", words="Seal", quantity=1, price_cents=900), "a": ReportLine(kind="work")}
            first = tx.create(ServiceReport(work_order="W0", lines=lines, words="Seal replaced"), record_id="R1")
        with device.edit("signed") as tx:
            signature = reports.sign(device, tx, first, signer="Ana Lake", at=NOW, strokes="M0 0")
        await device.sync()
        signed = device.get(ServiceReport, first)
        assert signed is not None
        assert signed.fields.status is ReportStatus.SIGNED
        named = device.get(Signature, signature)
        assert named is not None
        assert named.fields.sha256 == signed.fields.sha256 == report_sha256(signed.fields)
        refused = await world.office.push(update("service_report", first, 2**50, words="Nothing done"))
        assert (refused.reasons[0].rule, refused.reasons[0].field) == ("frozen", "words")
        with device.edit("amended") as tx:
            second = reports.amend(device, tx, first)
        with device.edit("another line") as tx:
            tx.set(ServiceReport, second, lines={"c": ReportLine(kind="note", words="also cleaned")})
        await device.sync()
        assert (await world.row("service_report", second)).version == 2
        await world.quiet()
        assert await world.rows("conflict") == {}
        extra = {"kind": "part", "words": "Added in the office", "quantity": 1, "price_cents": 100}
        await world.does(world.office, update("service_report", second, 2**50, lines={"d": extra}))
        with device.edit("signed without having seen that") as tx:
            reports.sign(device, tx, second, signer="Ana Lake", at=NOW)
        await device.sync()
        doubt = await world.row("conflict", f"{second}.signed_content", status="open")
        assert doubt.subject == second


def test_the_hash_is_of_the_content_whatever_the_order_of_its_lines() -> None:
    one, two = ReportLine(kind="work", words="x"), ReportLine(kind="part", price_cents=1)
    base = report_sha256(ServiceReport(work_order="W", lines={"a": one, "b": two}))
    assert base == report_sha256(ServiceReport(work_order="W", lines={"b": two, "a": one, "gone": None}))
    assert base != report_sha256(ServiceReport(work_order="W", lines={"a": two, "b": one}))
    assert base != report_sha256(ServiceReport(work_order="W", lines={"a": one, "b": two}, version=2))
    assert base != report_sha256(ServiceReport(work_order="W", lines={"a": one, "b": two}, words="more"))
