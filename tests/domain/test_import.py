"""CSV in and out: nothing doubled, nothing dropped without a word."""

import csv
import io
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.intake.cells import BadCell, parse, render
from server.intake.files import read, rejected_csv, written
from server.intake.incoming import Incoming, Rejected, Report, plain
from server.intake.presets import PRESETS
from server.intake.run import Importer
from server.tenants import create_tenant
from sync.schema import REGISTRY
from tests.conftest import Company

CRM = Path(__file__).parents[3] / "shared" / "data" / "crm"


async def take(company: Company, entity: str, text: str, *, dry_run: bool = False, **mapping: str) -> Report:
    rows = list(read(entity, "test.csv", io.StringIO(text), mapping))
    report = await Importer(company.context, company.tenant_id, dry_run=dry_run).take(r for r in rows if isinstance(r, Incoming))
    report.rejected.extend(r for r in rows if isinstance(r, Rejected))
    return report


async def held(company: Company, entity: str) -> dict[str, Any]:
    async with company.context.office.of(company.tenant_id) as tenant:
        return {row.id: row for row in await tenant.rows(entity)}


@pytest.mark.skipif(not CRM.is_dir(), reason="the public CRM data is not here")
async def test_a_pipeline_comes_in_whole_and_once(company: Company) -> None:
    tenant_id = await create_tenant(company.context, f"pipeline of {company.tenant_id}")
    cut = await Importer(company.context, tenant_id).take(islice(PRESETS["opportunities"](CRM), 3_000))
    assert cut.tallies["opportunity"].created == 3_000 - 7 - 41 - 85, "it was cut short here"
    report = await Importer(company.context, tenant_id).take(PRESETS["opportunities"](CRM))
    assert {entity: tally.held for entity, tally in report.tallies.items()} == {
        "product": 7,
        "profile": 41,
        "account": 85,
        "opportunity": 8800,
    }
    assert report.people == {"rep": 35, "manager": 6}
    assert report.rejected == []
    with (CRM / "sales_pipeline.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(one.value, one.taken_as, one.rows) for one in report.corrected] == [
        ("GTXPro", "GTX Pro", sum(row["product"] == "GTXPro" for row in rows))
    ]
    assert report.left_open == {"opportunity.account": sum(not row["account"] for row in rows)}
    again = await Importer(company.context, tenant_id).take(PRESETS["opportunities"](CRM))
    assert sum(tally.created + tally.changed for tally in again.tallies.values()) == 0
    async with company.context.office.of(tenant_id) as tenant:
        people = {row.id: row for row in await tenant.rows("profile")}
        deals = {row.external_id: row for row in await tenant.rows("opportunity")}
        accounts = {row.id: row for row in await tenant.rows("account")}
    assert len(deals) == len(rows) == 8800
    for row in rows:
        deal = deals[row["opportunity_id"]]
        assert people[deal.owner].name == row["sales_agent"]
        assert (accounts[deal.account].name if deal.account else "") == row["account"]
        assert deal.amount_cents == int(row["close_value"] or 0) * 100
    with (CRM / "sales_teams.csv").open() as file:
        for row in csv.DictReader(file):
            (agent,) = (one for one in people.values() if one.name == row["sales_agent"])
            assert people[agent.manager].name == row["manager"]


async def test_rows_are_matched_by_external_id_then_by_what_tells_them_apart(company: Company) -> None:
    first = await take(company, "account", "name,external_id,segment\nAcme GmbH,A1,hotel\nBeta,,\n")
    assert (first.tallies["account"].created, first.rejected) == (2, [])
    again = await take(company, "account", "name,external_id,segment\nAcme Hotels,A1,hotel\nBETA ,,office\n")
    assert (again.tallies["account"].created, again.tallies["account"].changed) == (0, 2)
    assert {(row.name, row.external_id, row.segment) for row in (await held(company, "account")).values()} == {
        ("Acme Hotels", "A1", "hotel"),
        ("BETA", "", "office"),
    }


async def test_a_dry_run_says_the_same_and_writes_nothing(company: Company) -> None:
    text = "name,segment\nAcme,hotel\nBeta,\n"
    dry = await take(company, "account", text, dry_run=True)
    assert await held(company, "account") == {}
    wet = await take(company, "account", text)
    assert dry.tallies == wet.tallies


async def test_what_is_not_taken_is_told_row_by_row_and_can_be_mended(company: Company) -> None:
    await take(company, "account", "name\nAcme\nAcmé\n")
    bad = await take(
        company,
        "site",
        "account,name,city,position\n"
        "Acme,Works,Ulm,\n"  # taken
        "Nobody,Works,Ulm,\n"
        "Acme,,Ulm,\n"
        "Acme,Works,Bonn,\n"
        'Acme,Yard,,"{""lat"": 99, ""lon"": 1}"\n'
        "Acme,Hall,,,,\n",
    )
    assert bad.tallies["site"].created == 1
    assert {one.line: one.reason for one in bad.rejected} == {
        3: "account: the account 'Nobody' is unknown",
        4: "nothing tells this site apart: it needs an external_id, or account and name",
        5: "the same site stands in line 2",
        6: "position: Expected `float` <= 90.0 - at `$.lat`",
        7: "more cells than the header has columns",
    }
    mended = list(csv.DictReader(io.StringIO(rejected_csv(bad.rejected))))
    assert mended[0]["reason"] == "account: the account 'Nobody' is unknown"
    assert (mended[0]["account"], mended[0]["name"], mended[0]["city"]) == ("Nobody", "Works", "Ulm")


async def test_two_records_that_read_alike_are_not_guessed_between(company: Company) -> None:
    await take(company, "account", "name,external_id\nAcme,A1\nACME,A2\n")
    report = await take(company, "site", "account,name\nAcme,Works\nA2,Works\n")
    assert [one.reason for one in report.rejected] == ["account: the account 'Acme' means several records"]
    (site,) = (await held(company, "site")).values()
    assert (await held(company, "account"))[site.account].external_id == "A2"


async def test_headers_are_mapped_and_a_strange_one_is_named(company: Company) -> None:
    enrolled = await company.enrol(await company.user("Mona", "manager"))
    bearer = {"authorization": f"Bearer {enrolled.token}"}
    answer = await company.http.post(
        "/v1/imports/account?map.Firma=name&map.Bemerkung=", content="Firma,Bemerkung\nAcme,x\n", headers=bearer
    )
    assert (answer.status_code, answer.json()["entities"]["account"]["created"]) == (200, 1)
    answer = await company.http.post("/v1/imports/account", content="Firma\nAcme\n", headers=bearer)
    assert (answer.status_code, answer.json()["rule"]) == (400, "csv")
    assert "'Firma' fits no field of account" in answer.json()["detail"]
    answer = await company.http.post("/v1/imports/unicorn", content="x\n", headers=bearer)
    assert (answer.status_code, answer.json()["rule"]) == (404, "unknown_entity")
    answer = await company.http.get("/v1/exports/account", headers=bearer)
    assert [row["name"] for row in csv.DictReader(io.StringIO(answer.text))] == ["Acme"]


async def test_what_is_exported_is_taken_back_as_it_stands(company: Company) -> None:
    await take(company, "account", 'name,tags,custom,credit_hold\n"Ac,me",b;a,"{""x"": [1]}",yes\n')
    await take(company, "product", "sku,name,price_cents\nK-1,Valve,12.50\n")
    for entity in ("account", "product"):
        text = "".join([line async for line in written(company.context, company.tenant_id, entity)])
        report = await take(company, entity, text)
        assert (report.tallies[entity].unchanged, report.rejected) == (1, []), entity
    (product,) = (await held(company, "product")).values()
    assert product.price_cents == 1250


CELLS = [
    ("account", "name", st.text(min_size=1, max_size=200)),
    ("account", "credit_hold", st.booleans()),
    ("product", "price_cents", st.integers(-(2**40), 2**40)),
    ("product", "lifetime_days", st.integers(0, 2**40)),
    ("technician", "speed_factor", st.floats(0.2, 5)),
    ("site", "position", st.fixed_dictionaries({"lat": st.floats(-90, 90), "lon": st.floats(-180, 180)})),
    ("account", "tags", st.lists(st.sampled_from(["a", "b b", "c"]), unique=True).map(sorted)),
]


@given(st.sampled_from(CELLS), st.data())
def test_a_cell_written_is_read_as_the_same_value(case: tuple[str, str, st.SearchStrategy[Any]], data: st.DataObject) -> None:
    entity, name, values = case
    field, value = REGISTRY[entity].fields[name], data.draw(values)
    assert parse(field, render(field, value)) == value


@pytest.mark.parametrize(
    ("entity", "name", "text", "words"),
    [
        ("product", "price_cents", "1.005", "more than two places"),
        ("product", "price_cents", "12 $", "is no number"),
        ("account", "credit_hold", "perhaps", "neither yes nor no"),
        ("asset", "installed_on", "31.12.2026", "is no date"),
        ("account", "custom", "{", "not JSON"),
        ("technician", "speed_factor", "NaN", "is no number"),
        ("lead", "urgency", "whenever", "Invalid enum value"),
    ],
)
def test_a_cell_that_says_nothing_is_told_why(entity: str, name: str, text: str, words: str) -> None:
    with pytest.raises(BadCell, match=words):
        parse(REGISTRY[entity].fields[name], text)


def test_names_are_compared_without_what_people_write_differently() -> None:
    assert plain("GTX Pro") == plain("gtxpro") == plain(" GTX-Pro.")
    assert plain("Müller & Söhne") == plain("MULLER SOHNE")
    assert plain("東京") != plain("大阪") != ""
