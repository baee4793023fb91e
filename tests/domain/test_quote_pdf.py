"""A quote on paper, read back by another library."""

from io import BytesIO

import httpx
import pytest
from pypdf import PdfReader

from server.quote_pdf import QuotePage, _drawing, render
from sync.entities import Account, Product, Quote
from sync.entities.sales import QuoteLine
from tests.domain.selling import deal, offer, settled, shop, signed
from tests.scenarios.field import Field, Phone


async def fetched(field: Field, quote: str, token: str) -> httpx.Response:
    return await field.company.http.get(f"/v1/quotes/{quote}/pdf", headers={"authorization": f"Bearer {token}"})


def words(content: bytes) -> str:
    return " ".join(" ".join(page.extract_text().split()) for page in PdfReader(BytesIO(content)).pages)


async def test_the_page_has_lines_totals_and_who_signed(field: Field) -> None:
    await shop(field)
    rita = await field.rep("Rita")
    await field.manager.sets(Account, "A1", name="Łódź Ωmega Клиника & <Sons>")
    quote = offer(field, rita, await deal(field, rita), discount_pct=3.3, tax_pct=19)
    await settled(field, rita)
    draft = await fetched(field, quote, field.manager.device.me.token)
    assert "DRAFT" in words(draft.content)
    signed(field, rita, quote, "Ana Łake")
    await settled(field, rita)
    reply = await fetched(field, quote, field.manager.device.me.token)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/pdf")
    text = words(reply.content)
    for part in (
        f"Quote {quote}",
        "Łódź Ωmega Клиника & <Sons>",
        "1 Pump 2 100.00 193.40",
        "2 Hour 3 60.00 174.06",
        "Net 367.46 USD",
        "Tax 19 % 69.82 USD",
        "Total 437.28 USD",
        "Signed by Ana Łake on 20",
    ):
        assert part in text
    assert "DRAFT" not in text
    assert "not under this content" not in text


async def test_only_who_holds_the_deal_or_sits_in_the_office_gets_it(field: Field) -> None:
    await shop(field)
    rita, ron = await field.rep("Rita"), await field.rep("Ron")
    quote = offer(field, rita, await deal(field, rita))
    await settled(field, rita)

    async def asks(phone: Phone) -> int:
        return (await fetched(field, quote, (await field.company.enrol(phone.user)).token)).status_code

    assert (await asks(rita), await asks(ron)) == (200, 404)
    assert (await fetched(field, "none", field.manager.device.me.token)).status_code == 404


def test_a_long_quote_runs_over_pages_and_far_dates_do_not_break_it() -> None:
    lines = {str(at): QuoteLine(product="X1", quantity=at, price_cents=999) for at in range(1, 121)}
    quote = Quote(opportunity="O1", price_book="B1", lines=lines, valid_to=2**52)
    page = QuotePage("Q1", quote, "Acme", "Lake", "Pumps", "EUR", {"X1": Product(sku="X1", name="Pump").name})
    reader = PdfReader(BytesIO(render(page)))
    assert len(reader.pages) > 2
    assert "Valid to 9999-12-31" in reader.pages[0].extract_text()


@pytest.mark.parametrize("strokes", ["", "M0 0", 'M0 0L1 1"/><script>', "hello"])
def test_strokes_that_are_no_path_are_not_drawn(strokes: str) -> None:
    assert _drawing(strokes) == b""
