"""Kinto on PostgreSQL, served by waitress as `kinto start` does."""

import base64
import os
import subprocess
from pathlib import Path
from typing import Any, Final

import psycopg

from benchmarks.sync.drive import drive
from benchmarks.sync.peers.documents import Documents, encode
from benchmarks.sync.peers.install import KINTO, python_with
from benchmarks.sync.postgres import Postgres
from benchmarks.sync.system import Failed, Figures, Load, Server, call, free_port
from benchmarks.sync.wire import Job, Request, request
from benchmarks.sync.workload import BATCH, CONNECTIONS, Record, Size, condition

_AUTH: Final = {"authorization": "Basic " + base64.b64encode(b"bench:bench").decode()}
_SETTINGS: Final = """
[server:main]
use = egg:waitress#main
host = 127.0.0.1
port = {port}
threads = 8

[app:main]
use = egg:kinto
kinto.userid_hmac_secret = bench
multiauth.policies = basicauth
kinto.storage_backend = kinto.core.storage.postgresql
kinto.storage_url = {url}
kinto.storage_max_fetch_size = 20000
kinto.storage_pool_size = 8
kinto.cache_backend = kinto.core.cache.memory
kinto.permission_backend = kinto.core.permission.postgresql
kinto.permission_url = {url}
kinto.batch_max_requests = {batch}
kinto.bucket_create_principals = system.Authenticated
"""
FEWER: Final = 10
"""It is given a tenth of the devices and one batch each: it would take minutes."""


class Kinto:
    """A push is one `/batch` of PUTs, as its own client sends; a pull is a plain GET, `_since` a timestamp."""

    name = "kinto"
    durable = "yes: fsync at each commit"
    workloads: tuple[str, ...] = ("push", "first_pull", "delta_pull")

    def __init__(self, postgres: Postgres, home: Path, size: Size) -> None:
        self._postgres, self._home, self._size = postgres, home, size
        self._documents = Documents(8, size)
        self._server: Server
        self._held: list[tuple[str, Record]] = []

    def start(self) -> None:
        programs = python_with("kinto", KINTO)
        port = free_port()
        url = self._postgres.database("kinto")
        home = self._home / "kinto"
        home.mkdir(parents=True)
        # Its driver takes the socket's folder as a parameter, and its settings take a percent sign for an interpolation.
        (home / "kinto.ini").write_text(_SETTINGS.format(port=port, url=url, batch=BATCH))
        made = subprocess.run([programs / "kinto", "migrate", "--ini", "kinto.ini"], cwd=home, capture_output=True, check=False)
        if made.returncode:
            raise Failed(f"kinto migrate: {made.stderr.decode(errors='replace')[-400:]}")
        command = [str(programs / "kinto"), "start", "--ini", "kinto.ini", "--port", str(port)]
        self._server = Server(self.name, command, home, dict(os.environ), port)
        self._server.start("/v1/")
        self._call("PUT", "/v1/buckets/bench")
        self._held = self._documents.some(self._size.delta_changes)
        with psycopg.connect(url) as connection:
            for name, records in (("pull", self._documents.some(self._size.pull_records)), ("delta", self._held)):
                self._call("PUT", f"/v1/buckets/bench/collections/{name}")
                with connection.cursor() as cursor:
                    cursor.executemany(
                        "insert into objects (id, parent_id, resource_name, data, deleted) values (%s, %s, 'record', %s, false)",
                        [(one, f"/buckets/bench/collections/{name}", encode(body).decode()) for one, body in records],
                    )

    def stop(self) -> None:
        self._server.stop()

    def roots(self) -> list[int]:
        return [self._server.pid, self._postgres.pid]

    def measure(self, workload: str, number: int) -> Figures:
        return drive(self.name, self._load(workload, number), self.roots())

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        return call(self._server.port, method, path, body, _AUTH)

    def _load(self, workload: str, number: int) -> Load:
        size = self._size
        match workload:
            case "push":
                self._call("PUT", f"/v1/buckets/bench/collections/push{number}")
                batches = self._documents.batches(size.push_devices // FEWER, 1)
                devices = [[_batch(f"push{number}", batch) for batch in of_device] for of_device in batches]
                count = len(devices) * BATCH
                return self._job(devices, b'"status":201', count, count, note=f"{len(devices)} devices with one batch each")
            case "first_pull":
                pull = request("GET", "/v1/buckets/bench/collections/pull/records", headers=_AUTH)
                count = size.pulls * size.pull_records
                return self._job([[pull]] * size.pulls, b'"last_modified":', count, count, connections=4)
            case _:
                path = "/v1/buckets/bench/collections/delta/records"
                since = max(record["last_modified"] for record in self._call("GET", path)["data"])
                changed = [(one, body | {"condition": condition(self._documents.chance)}) for one, body in self._held]
                self._call("POST", "/v1/batch", _puts("delta", changed))
                pull = request("GET", f"{path}?_since=%22{since}%22", headers=_AUTH)
                count = size.delta_devices * len(changed)
                return self._job([[pull]] * size.delta_devices, b'"last_modified":', count, count)

    def _job(
        self,
        devices: list[list[Request]],
        expect: bytes,
        expected: int,
        records: int,
        *,
        connections: int = CONNECTIONS,
        note: str = "",
    ) -> Load:
        return Load(Job(self._server.port, devices, connections, expect, expected), records, note)


def _puts(collection: str, records: list[tuple[str, Record]]) -> dict[str, Any]:
    path = f"/v1/buckets/bench/collections/{collection}/records"
    return {"defaults": {"method": "PUT"}, "requests": [{"path": f"{path}/{one}", "body": {"data": body}} for one, body in records]}


def _batch(collection: str, records: list[tuple[str, Record]]) -> Request:
    return request("POST", "/v1/batch", encode(_puts(collection, records)), _AUTH, "kinto_refused")
