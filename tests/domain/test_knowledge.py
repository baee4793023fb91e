"""The article that helps is found by its words, on the server and on a device without a network."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Company
from wire import create, update

from client_sdk import HttpTransport, NotFound, Replica
from server.author import create as made
from sync.entities import KnowledgeArticle, WorkOrder
from sync.entities.service import ArticleFeedback
from tests.domain.service_world import NOW, World


def article(article_id: str, title: str, **fields: Any) -> dict[str, Any]:
    return create("knowledge_article", article_id, title=title, **fields)


@pytest.fixture
async def world(company: Company) -> World:
    world = await World.of(company)
    await world.write(*(made("product", name, sku=name, name=name) for name in ("X1", "X2")))
    texts = {
        "burner": article("burner", "Burner does not ignite", symptoms=["no flame"], products=["X1"], body="Clean the electrode."),
        "pump": article("pump", "Pump is noisy", symptoms=["rattling noise"], body="Bleed the pump; replace bearings."),
        "other": article("other", "Burner of the other model", products=["X2"], body="The electrode sits behind the cover."),
        "draft": article("draft", "Electrode, not yet checked", body="electrode"),
        "general": article("general", "Electrodes in general", body="How an electrode wears."),
    }
    await world.does(world.office, *texts.values())
    shown = (update("knowledge_article", name, 2**50, status="published") for name in texts if name != "draft")
    await world.does(world.office, *shown)
    return world


@pytest.fixture(params=["plain", "encrypted"])
async def device(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Replica]:
    """A second device of the technician."""
    key = "correct horse" if request.param == "encrypted" else None
    with Replica.open(tmp_path / "theo", transport=HttpTransport(world.company.http), key=key) as replica:
        await replica.enrol("http://server", await world.company.code(world.field.me.user), "theo")
        await replica.sync()
        yield replica


QUESTIONS: list[tuple[dict[str, str], list[str]]] = [
    ({"q": "electrode"}, ["burner", "general", "other"]),
    ({"q": "electrodes worn"}, []),
    ({"q": "wearing electrode"}, ["general"]),
    ({"q": "the electrode", "product": "X1"}, ["burner", "general"]),
    ({"symptom": "there is a noise"}, ["pump"]),
    ({"symptom": "flame noise"}, ["burner", "pump"]),
    ({"symptom": "no flame", "product": "X2"}, []),
    ({"product": "X2"}, ["general", "other", "pump"]),
    ({"q": "the"}, []),
    ({"q": "\" OR * NEAR( 'x"}, []),
]


@pytest.mark.parametrize(("asked", "found"), QUESTIONS)
async def test_server_and_device_find_the_same(world: World, device: Replica, asked: dict[str, str], found: list[str]) -> None:
    reply = await world.get(world.field, "/v1/knowledge", **asked)
    assert reply.status_code == 200, reply.text
    assert sorted(one["id"] for one in reply.json()) == found
    here = device.search_knowledge(asked.get("q", ""), product=asked.get("product"), symptom=asked.get("symptom", ""))
    assert sorted(item.id for item in here) == found


async def test_the_article_for_the_product_comes_first_and_feedback_moves_the_rest(world: World, device: Replica) -> None:
    async def order() -> tuple[list[str], list[str]]:
        reply = await world.get(world.office, "/v1/knowledge", product="X1")
        return [one["id"] for one in reply.json()], [item.id for item in device.search_knowledge(product="X1")]

    assert await order() == (["burner", "general", "pump"], ["burner", "general", "pump"])
    with device.edit("it helped") as tx:
        tx.append(KnowledgeArticle, "pump", feedback=ArticleFeedback(id=tx.new_id(), at=NOW, by="me", helpful=True))
        tx.append(KnowledgeArticle, "general", feedback=ArticleFeedback(id=tx.new_id(), at=NOW, by="me", helpful=False))
    assert [item.id for item in device.search_knowledge(product="X1")] == ["burner", "pump", "general"], "before it is sent"
    await device.sync()
    assert await order() == (["burner", "pump", "general"], ["burner", "pump", "general"])
    shown = (await world.get(world.office, "/v1/knowledge", q="bearings")).json()[0]
    assert (shown["helpful"], shown["unhelpful"]) == (1, 0)
    assert "<b>bearings</b>" in shown["excerpt"]


async def test_the_index_on_the_device_follows_every_change(world: World, device: Replica) -> None:
    def found(text: str) -> list[str]:
        return [item.id for item in device.search_knowledge(text)]

    with device.edit("reworded") as tx:
        tx.set(KnowledgeArticle, "pump", title="Circulator hums")
    assert (found("circulator"), found("noisy")) == (["pump"], [])
    await device.sync()
    assert found("circulator") == ["pump"]
    await world.does(world.boss, update("knowledge_article", "pump", 2**50, title="Pump whistles", status="retired"))
    await world.does(world.boss, {"entity": "knowledge_article", "id": "general", "base": 2**50, "delete": True})
    await world.does(world.office, article("new", "Valve stuck"))
    await device.sync()
    assert (found("whistles"), found("circulator"), found("wears"), found("valve")) == ([], [], [], [])
    await world.does(world.office, update("knowledge_article", "new", 2**50, status="published"))
    await device.sync()
    assert found("valve") == ["new"]


async def test_an_order_is_offered_what_fits_its_machine_and_symptom(world: World, device: Replica) -> None:
    await world.write(made("asset", "M2", site="S1", product="X1"))
    await world.does(world.office, update("work_order", "W0", 2**50, asset="M2", symptom="flame goes out"))
    await device.sync()
    assert device.get(WorkOrder, "W0") is not None
    assert [item.id for item in device.knowledge_for("W0")] == ["burner"]
    offered = await world.get(world.office, "/v1/work_orders/W0/knowledge")
    assert [one["id"] for one in offered.json()] == ["burner"]
    assert (await world.get(world.office, "/v1/work_orders/W9/knowledge")).status_code == 404
    with pytest.raises(NotFound):
        device.knowledge_for("W9")


async def test_one_company_does_not_find_what_another_knows(world: World, context: Any, http: Any) -> None:
    from server.tenants import create_tenant

    elsewhere = Company(context, http, await create_tenant(context, f"elsewhere-{context.new_id()}"))
    stranger = await elsewhere.enrol(await elsewhere.user("Sam", "manager"))
    reply = await http.get("/v1/knowledge", params={"q": "electrode"}, headers={"authorization": f"Bearer {stranger.token}"})
    assert reply.json() == []
    assert (await http.get("/v1/knowledge")).status_code == 401


async def test_a_file_of_an_older_app_gets_its_index(world: World, device: Replica) -> None:
    from client_sdk import ledger, words

    store = device._store
    with store.write():
        store._run(words.DROP)
        store._run("UPDATE device SET layout = 'of before'")
    ledger.prepare(store)
    assert [item.id for item in device.search_knowledge("bearings")] == ["pump"]
