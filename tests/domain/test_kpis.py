"""Each figure against its formula, computed here from what was written; and the page that tells the formulae."""

import csv
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from server.author import create, update, write
from server.domain.forecast import Deal, learn
from server.forecasting import deals_of
from server.intake.presets import PRESETS
from server.intake.run import Importer
from server.kpis import Figure, Period, figure, page, worth
from server.problems import ProblemError
from server.storage.kpis import KPIS
from server.storage.tables import rule_event
from server.tenants import create_tenant
from sync.entities.flows import Stage
from tests.conftest import Company

ROOT = Path(__file__).parents[2]
CRM = ROOT.parent / "shared" / "data" / "crm"
HOUR, DAY = 3_600_000, 86_400_000
T = 1_790_000_000_000 // DAY * DAY
MONTH = Period(T, T + 30 * DAY)


async def told(company: Company, name: str, by: str | None = None, period: Period = MONTH) -> Figure:
    async with company.context.office.of(company.tenant_id) as tenant:
        return await figure(tenant, name, period, by)


async def put(company: Company, entity: str, record_id: str, *ways: str, **fields: Any) -> None:
    """A record, led through some states of its life cycle."""
    states = [update(entity, record_id, 0, status=state) for state in ways]
    await write(company.context, company.tenant_id, "test", [[create(entity, record_id, **fields), *states]])


async def customer(company: Company) -> None:
    await put(company, "account", "A", name="Acme")
    await put(company, "site", "S", account="A", name="Works")
    for name in ("T1", "T2"):
        await put(company, "technician", name, name=name)


def ms(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp() * 1000)


def times(**at: int) -> list[dict[str, Any]]:
    return [{"id": status, "at": moment, "status": status} for status, moment in at.items()]


async def visit(company: Company, record_id: str, order: str, technician: str, status: str, **fields: Any) -> None:
    await put(company, "appointment", record_id, "scheduled", status, work_order=order, technician=technician, **fields)


async def test_what_visits_tell(company: Company) -> None:
    await customer(company)
    for order in ("W1", "W2", "W3"):
        await put(
            company, "work_order", order, account="A", site="S", status="work_done", type="repair" if order != "W3" else "check"
        )
    nine = T + 9 * HOUR
    done = times(on_site=nine + 5 * 60_000, completed=nine + HOUR)
    await visit(company, "P1", "W1", "T1", "completed", planned_start=nine, actual=done)  # 5 minutes late: as planned
    await visit(company, "P2", "W2", "T1", "cannot_complete", planned_start=nine)
    late = times(in_progress=nine + DAY + HOUR, completed=nine + DAY + 2 * HOUR)
    await visit(company, "P3", "W2", "T2", "completed", planned_start=nine + DAY, actual=late)  # an hour late
    window = times(on_site=nine + HOUR, completed=nine + 3 * HOUR)
    crew = {"mates": ["T2"], "promised_to": nine + 2 * HOUR}
    await visit(company, "P4", "W3", "T1", "completed", planned_start=nine, actual=window, **crew)
    outside = times(on_site=nine - 90 * DAY, completed=nine - 90 * DAY)
    await put(company, "work_order", "W4", account="A", site="S", status="work_done")
    await visit(company, "P5", "W4", "T1", "completed", planned_start=nine, actual=outside)
    fix = await told(company, "first-time-fix", "type")
    assert (fix.value, fix.n) == (pytest.approx(2 / 3), 3)
    assert [(part.label, part.value, part.n) for part in fix.by] == [("check", 1.0, 1), ("repair", 0.5, 2)]
    adherence = await told(company, "schedule-adherence", "technician")
    assert (adherence.value, adherence.n) == (pytest.approx(2 / 3), 3)
    assert [(part.label, part.value) for part in adherence.by] == [("T1", 1.0), ("T2", 0.0)]
    jobs = await told(company, "jobs-a-day", "technician")
    assert [(part.label, part.value, part.n) for part in jobs.by] == [("T1", 2.0, 2), ("T2", 1.0, 2)], "a crew's is one of each"
    assert (jobs.value, jobs.n) == (pytest.approx(4 / 3), 4)


async def test_what_hours_tell(company: Company) -> None:
    await customer(company)
    await put(company, "work_order", "W", account="A", site="S")
    eight = T + 8 * HOUR
    await put(company, "shift", "H1", technician="T1", start=eight, end=eight + 8 * HOUR, break_s=3600)
    for at, (kind, start_h, end_h) in enumerate(
        [("travel", 0, 1), ("work", 1, 4), ("break", 4, 5), ("work", 5, 6), ("travel", 6, 6.5)]
    ):
        span = {"start": eight + int(start_h * HOUR), "end": eight + int(end_h * HOUR)}
        await put(company, "time_entry", f"E{at}", work_order="W", technician="T1", kind=kind, **span)
    await put(company, "time_entry", "open", work_order="W", technician="T1", kind="work", start=eight)
    assert (await told(company, "utilisation")).value == pytest.approx(4 / 7)
    assert (await told(company, "utilisation-with-travel")).value == pytest.approx(5.5 / 7)
    assert (await told(company, "travel-ratio")).value == pytest.approx(1.5 / 5.5)
    half = await told(company, "utilisation", period=Period(eight, eight + 2 * HOUR))
    assert half.value == pytest.approx(1 / (2 - 1)), "an entry or a shift counts as far as it lies in the period"


async def test_what_cases_tell(company: Company) -> None:
    await customer(company)
    base = {"account": "A", "subject": "x", "opened_at": T}
    promise = {"respond_s": HOUR // 1000, "resolve_s": 8 * HOUR // 1000}
    await put(company, "service_level", "L", name="Standard", promises={"3": promise})
    await put(company, "business_rule", "R", kind="service_level", version=1, body={"service_level": "L"})
    answered = {"responded_at": T + HOUR // 2, "status": "resolved"}
    await put(company, "case", "C1", **base, **answered, resolved_at=T + 4 * HOUR, waited_ms=HOUR)
    await put(company, "case", "C2", **base, **answered, resolved_at=T + 9 * HOUR)
    await put(company, "case", "C3", **base)
    await put(company, "case", "C4", **base, status="canceled")
    await company.rest()
    assert (await told(company, "mttr")).value == pytest.approx((3 + 9) / 2 * 3600)
    kept = await told(company, "sla-attainment", "priority")
    assert (kept.value, kept.n, [part.label for part in kept.by]) == (pytest.approx(1 / 3), 3, ["3"])


async def test_what_customers_tell(company: Company) -> None:
    await customer(company)
    await put(company, "account", "B", name="Beta")
    year = 365 * DAY
    await put(company, "contract", "K1", account="A", name="Care", start=T - year, end=T + year, status="active")
    await put(company, "contract", "K2", "active", "expired", account="B", name="Care", start=T - year, end=T + DAY)
    assert (await told(company, "retention")).value == 0.5
    assert (await told(company, "churn")).value == 0.5
    for at, score in enumerate((10, 9, 8, 3)):
        await put(company, "survey", f"N{at}", account="A", kind="nps", score=score, answered_at=T + at)
    assert (await told(company, "nps")).value == pytest.approx(25)
    for at, score in enumerate((5, 4, 2)):
        await put(company, "survey", f"S{at}", account="A", kind="csat", score=score, answered_at=T + at)
    assert (await told(company, "csat")).value == pytest.approx(2 / 3)


async def test_what_sales_tell(company: Company) -> None:
    await customer(company)
    await put(company, "account", "B", name="Beta")
    deals = [("A", "won", 10_000, 10), ("A", "won", 30_000, 20), ("B", "lost", 0, 5), ("B", "won", 20_000, 30)]
    for at, (account, stage, cents, days) in enumerate(deals):
        closed = T + at * DAY
        fields = {"opened_on": closed - days * DAY, "closed_at": closed, "amount_cents": cents, "stage": stage}
        await put(company, "opportunity", f"O{at}", name="x", account=account, **fields)
    for at in range(5):
        await put(company, "opportunity", f"open{at}", name="x", stage="qualified")
    assert (await told(company, "win-rate")).value == 0.75
    assert (await told(company, "sales-cycle")).value == 20
    assert (await told(company, "sales-velocity")).value == pytest.approx(5 * 0.75 * 20_000 / 20)
    await put(company, "campaign", "M", name="Spring", cost_cents=9_000, start=T)
    assert (await told(company, "cac")).value == 4_500
    for at, states in enumerate(((), ("converted",), ("converted", "won"), ("duplicate",))):
        await put(company, "lead", f"L{at}", *states, need="x", captured_at=T)
    conversion = await told(company, "lead-conversion", "cohort")
    assert (conversion.value, conversion.n) == (pytest.approx(2 / 3), 3)
    assert [part.label for part in conversion.by] == ["2026-09"]
    async with company.context.office.of(company.tenant_id) as tenant:
        assert await worth(tenant, Period()) == [], "too few accounts for a model"


async def test_what_open_deals_should_bring_and_how_well_that_was_known(company: Company) -> None:
    """Months are told by their first moment: June and July of 2026 here."""
    june, july = (ms(date(2026, month, 1)) for month in (6, 7))
    await put(company, "product", "X", sku="X", name="Pump")
    closed = {"opened_on": june - 60 * DAY, "product": "X"}
    for at, stage in enumerate(("won", "won", "lost")):  # May: all that June can go by
        await put(company, "opportunity", f"M{at}", name="x", stage=stage, closed_at=june - 20 * DAY, amount_cents=10_000, **closed)
    for at, (stage, cents) in enumerate((("won", 9_000), ("lost", 0))):
        await put(company, "opportunity", f"J{at}", name="x", stage=stage, closed_at=june + 9 * DAY, amount_cents=cents, **closed)
    surprise = {"opened_on": june + DAY, "closed_at": june + 2 * DAY}
    await put(company, "opportunity", "S", name="opened and won within June", stage="won", amount_cents=70_000, **surprise)
    overall = (2 + 1) / (3 + 2)
    chance = (2 + 10 * overall) / (3 + 10)
    accuracy = await told(company, "forecast-accuracy", "month", Period(june, july))
    assert accuracy.value == pytest.approx(1 - abs(2 * chance * 10_000 - 9_000) / 9_000)
    assert [part.label for part in accuracy.by] == ["2026-06"]

    later = {"name": "x", "stage": "quoted", "product": "X", "opened_on": june}
    await put(company, "opportunity", "O1", **later, amount_cents=50_000, close_on=july + DAY)
    await put(company, "opportunity", "O2", **later, close_on=july + 2 * DAY)
    await put(company, "opportunity", "O3", **later, amount_cents=1_000, close_on=july + 90 * DAY)
    found = await told(company, "weighted-forecast", "product", Period(july, july + 30 * DAY))
    async with company.context.office.of(company.tenant_id) as tenant:
        learned = learn(await deals_of(tenant), july)
    assert learned.worth(Deal("", "", "X", Stage.QUOTED, 0, 0)) == pytest.approx((10_000 + 10_000 + 9_000) / 3)
    expected = learned.rates[Stage.QUOTED] * (50_000 + (10_000 + 10_000 + 9_000) / 3)
    assert (found.value, found.n) == (pytest.approx(expected), 2)
    assert [(part.label, part.n) for part in found.by] == [("Pump", 2)]


async def test_a_figure_that_rests_on_nothing_is_null_and_a_strange_one_is_named(company: Company) -> None:
    enrolled = await company.enrol(await company.user("Mona", "manager"))
    bearer = {"authorization": f"Bearer {enrolled.token}"}
    answer = await company.http.get("/v1/kpis", headers=bearer)
    assert answer.status_code == 200, answer.text
    names = [kpi["name"] for kpi in answer.json()]
    assert names == list(KPIS)
    for name in names:
        for by in ("", *(f"?by={group}" for group in KPIS[name].groups)):
            answer = await company.http.get(f"/v1/kpis/{name}{by}", headers=bearer)
            assert (answer.status_code, answer.json()["value"], answer.json()["by"]) == (200, None, []), name
    answer = await company.http.get("/v1/kpis/luck", headers=bearer)
    assert (answer.status_code, answer.json()["rule"]) == (404, "unknown_kpi")
    answer = await company.http.get("/v1/kpis/nps?by=mood", headers=bearer)
    assert (answer.status_code, answer.json()["field"]) == (400, "by")
    with pytest.raises(ProblemError):
        await told(company, "luck")


@pytest.mark.skipif(not CRM.is_dir(), reason="the public CRM data is not here")
async def test_the_figures_of_a_real_pipeline(company: Company, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"figures-{company.tenant_id}"
    tenant_id = await create_tenant(company.context, name)
    await Importer(company.context, tenant_id).take(PRESETS["opportunities"](CRM))
    async with company.context.office.of(tenant_id) as tenant:
        await tenant.connection.execute(sa.delete(rule_event).where(rule_event.c.tenant_id == tenant_id))  # rules are not on trial
    with (CRM / "sales_pipeline.csv").open() as file:
        closed = [row for row in csv.DictReader(file) if row["deal_stage"] in ("Won", "Lost")]
    won = [row for row in closed if row["deal_stage"] == "Won"]
    days = [(date.fromisoformat(row["close_date"]) - date.fromisoformat(row["engage_date"])).days for row in won]
    monkeypatch.setenv("DATABASE_URL", database_url)
    expected = {"win-rate": len(won) / len(closed), "sales-cycle": sum(days) / len(days)}
    for kpi, value in expected.items():
        found = await told_by_command("kpi", kpi, "--json", "--tenant", name)
        assert found["value"] == pytest.approx(value, rel=1e-12), kpi
    october = await told_by_command("forecast", name, "--on", "2017-10-15", "--json")
    before = sum(int(row["close_value"]) for row in won if "2017-10-01" <= row["close_date"] <= "2017-10-15")
    assert october["forecast"]["total"]["forecast"]["won_cents"] == 100 * before
    assert october["backtest"]["wape"] < october["backtest"]["naive_wape"], "it beats repeating the month before"
    async with company.context.office.of(tenant_id) as tenant:
        by_month = (await figure(tenant, "win-rate", Period(), "month")).by
        accounts = await worth(tenant, Period())
    for part in by_month:
        month = [row["deal_stage"] == "Won" for row in closed if row["close_date"].startswith(part.label)]
        assert (part.value, part.n) == (pytest.approx(sum(month) / len(month)), len(month))
    assert len(accounts) == len({row["account"] for row in won})
    assert all(one.value_cents >= 0 and 0 <= one.alive <= 1 for one in accounts)
    spent = {row["account"]: 0 for row in won}
    for row in won:
        spent[row["account"]] += int(row["close_value"])
    assert 0.2 < sum(one.value_cents for one in accounts) / 100 / (sum(spent.values()) * 365 / 306) < 2, (
        "in the range of what was bought"
    )


async def told_by_command(*words: str) -> Any:
    """What `truckroll …` prints; in a thread, since the command runs a loop of its own."""
    import asyncio

    from cli.main import app

    answer = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert answer.exit_code == 0, answer.output
    return msgspec.json.decode(answer.stdout)


def test_the_page_tells_every_figure() -> None:
    assert (ROOT / "docs" / "kpis.md").read_text() == page(), "make docs"
