"""A working day at 60 % of capacity, for as long as asked: is memory flat, latency flat, the feed's bloat bounded, all converged?

Protocol: our server over HTTP as in the comparison. Capacity is what it takes of small exchanges with their page in the first
seconds, as fast as replies come; the day then runs at 60 % of it, exchanges at random among 300 phones: each sends one to three
changes, half of them to records that exist, and pulls. Every tenth of the time is a window: its latencies, the server's and the
database's memory, the dead rows. At the end every phone pulls until nothing is new,
begins anew, and must come to the same records at the same versions.
"""

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg

from benchmarks.sync.company import Phone
from benchmarks.sync.load import Line
from benchmarks.sync.meter import memory_mb
from benchmarks.sync.postgres import Postgres
from benchmarks.sync.truckroll import Truckroll, exchange
from benchmarks.sync.workload import BATCH, Ids, Size, asset, condition
from sync.protocol import Page, Reply

PHONES: Final = 300
LINES: Final = 16
SHARE: Final = 0.6
CALIBRATE_S: Final = 10.0
WINDOWS: Final = 10
_replies: Final = msgspec.json.Decoder(Reply)


class Window(msgspec.Struct, frozen=True):
    """A tenth of the day."""

    at_s: float
    exchanges: int
    p50_ms: float
    p99_ms: float
    server_mb: float
    postgres_mb: float
    record_mb: float
    dead_rows: int
    live_rows: int


class Day:
    """The phones, what each has been given, and how long its exchanges took."""

    def __init__(self, ours: Truckroll, phones: list[Phone], cursor: str) -> None:
        self.ours, self.phones = ours, phones
        self.chance, self.ids = random.Random(5), Ids(5)
        self.cursors: dict[int, str | None] = dict.fromkeys((phone.no for phone in phones), cursor)
        self.held: dict[int, dict[str, int]] = {phone.no: {} for phone in phones}
        """What each holds by its pages: assets with their versions."""
        self.records: dict[int, list[str]] = {phone.no: [] for phone in phones}
        self.busy: set[int] = set()
        self.took: list[float] = []
        self.lines: asyncio.Queue[Line] = asyncio.Queue()

    async def work(self, phone: Phone) -> None:
        """One exchange of a phone: its changes, and the page that comes back."""
        own = self.records[phone.no]
        changes: list[dict[str, Any]] = []
        for _ in range(self.chance.randint(1, 3)):
            if own and self.chance.random() < 0.5:
                fields = {"condition": condition(self.chance)}
                changes.append({"entity": "asset", "id": self.chance.choice(own), "base": 2**50, "set": fields})
            else:
                record = self.ids()
                fields = asset(self.chance, self.chance.choice(phone.sites), self.chance.choice(self.ours.products))
                changes.append({"entity": "asset", "id": record, "create": True, "set": fields})
                own.append(record)
        reply = await self.send(phone, [changes])
        assert all(outcome.kind != "parked" for outcome in reply.outcomes), reply.outcomes

    async def send(self, phone: Phone, transactions: list[list[dict[str, Any]]]) -> Reply:
        line = await self.lines.get()
        try:
            began = time.perf_counter()
            status, body = await line.send(exchange(phone, transactions, cursor=self.cursors[phone.no], limit=2_000).raw)
            self.took.append(time.perf_counter() - began)
            assert status == 200, body[:300]
        finally:
            self.lines.put_nowait(line)
        reply = _replies.decode(body)
        assert reply.page is not None
        self.cursors[phone.no] = reply.page.cursor
        self.held[phone.no].update({r.id: r.seq for r in (*reply.page.whole, *reply.page.delta) if r.entity == "asset"})
        return reply

    async def run(self, for_s: float, rate_s: float | None) -> int:
        """Exchanges for a while, at a rate or as fast as replies come; each phone has one under way at most. Returns how many."""
        tasks: set[asyncio.Task[None]] = set()
        began, sent = time.monotonic(), 0
        while (gone := time.monotonic() - began) < for_s:
            ready = len(tasks) < LINES if rate_s is None else sent < gone * rate_s
            phone = self.chance.choice(self.phones)
            if not ready or phone.no in self.busy:
                await asyncio.sleep(0.002)
                continue
            self.busy.add(phone.no)
            task = asyncio.create_task(self.work(phone))
            task.add_done_callback(lambda _, no=phone.no: self.busy.discard(no))  # type: ignore[misc]  # mypy knows no lambda defaults
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.gather(*tasks)
        return sent


def run(*, minutes: float, json: Path | None = None) -> int:
    """Soak, print, write. Returns 0 if everything converged."""
    with tempfile.TemporaryDirectory(prefix="truckroll-soak-", ignore_cleanup_errors=True) as home:
        postgres = Postgres(Path(home))
        ours = Truckroll(postgres, Path(home), Size(pull_records=BATCH, delta_devices=1))
        ours.start()
        try:
            report = asyncio.run(_soak(ours, postgres, minutes))
        finally:
            ours.stop()
    text = msgspec.json.format(msgspec.json.encode(report)).decode()
    if json:
        json.write_text(text + "\n")
    print(text)
    return int(report["differing"] > 0)


async def _soak(ours: Truckroll, postgres: Postgres, minutes: float) -> dict[str, Any]:
    phones = ours.technicians[:PHONES]
    day = Day(ours, phones, await ours.settled())
    loop = asyncio.get_running_loop()
    for _ in range(LINES):
        day.lines.put_nowait((await loop.create_connection(Line, "127.0.0.1", ours.port))[1])
    capacity = await day.run(CALIBRATE_S, None) / CALIBRATE_S
    windows: list[Window] = []
    began = time.monotonic()
    for _ in range(WINDOWS):
        day.took.clear()
        await day.run(minutes * 60 / WINDOWS, capacity * SHARE)
        windows.append(_window(time.monotonic() - began, day.took, ours, postgres))
    differing = 0
    for phone in phones:
        differing += await _differs(day, phone)
    half = windows[len(windows) // 2 :]
    return {
        "suite": "soak",
        "minutes": minutes,
        "capacity_exchanges_per_s": round(capacity, 1),
        "load_exchanges_per_s": round(capacity * SHARE, 1),
        "windows": windows,
        "server_mb_per_hour": _slope_h(half, [w.server_mb for w in half]),
        "p50_ms_per_hour": _slope_h(half, [w.p50_ms for w in half]),
        "p99_ms_per_hour": _slope_h(half, [w.p99_ms for w in half]),
        "dead_share_max": round(max(w.dead_rows / max(w.live_rows, 1) for w in windows), 3),
        "differing": differing,
    }


def _slope_h(windows: Sequence[Window], values: Sequence[float]) -> float:
    """Growth per hour, over the second half of the day."""
    return round(statistics.linear_regression([w.at_s for w in windows], values).slope * 3600, 2)


def _window(at_s: float, took: list[float], ours: Truckroll, postgres: Postgres) -> Window:
    ordered = sorted(took)
    with psycopg.connect(ours.url) as connection:
        size, dead, live = connection.execute(
            "select pg_total_relation_size('record') / 1e6, n_dead_tup, n_live_tup "
            "from pg_stat_user_tables where relname = 'record'"
        ).fetchone() or (0, 0, 0)
    server, database = memory_mb([ours.pid]), memory_mb([postgres.pid])
    p50, p99 = (round(ordered[int(len(ordered) * part)] * 1000, 2) for part in (0.5, 0.99))
    return Window(round(at_s), len(ordered), p50, p99, server, database, round(float(size), 1), dead, live)


async def _differs(day: Day, phone: Phone) -> int:
    """How many records a phone holds at another version than one that begins anew, once both have all there is."""
    while (await _page(day, phone)).more:
        pass
    kept, day.held[phone.no], day.cursors[phone.no] = day.held[phone.no], {}, None
    while (page := await _page(day, phone)).more or page.groups_left:
        pass
    return len(kept.items() ^ day.held[phone.no].items())


async def _page(day: Day, phone: Phone) -> Page:
    page = (await day.send(phone, [])).page
    assert page is not None
    return page
