"""pouchdb-server: CouchDB's protocol on LevelDB, in Node."""

import os
from pathlib import Path
from typing import Any, Final

from benchmarks.sync.drive import drive
from benchmarks.sync.peers.documents import Documents, encode
from benchmarks.sync.peers.install import POUCHDB, node, npm_with
from benchmarks.sync.system import Figures, Load, Server, call, free_port
from benchmarks.sync.wire import Job, Request, request
from benchmarks.sync.workload import BATCH, CONNECTIONS, Record, Size, condition

HELD: Final = 1_000


class PouchDB:
    """Pushes are `_bulk_docs`, without the `_revs_diff` that a replication asks first: less work than a device would cause."""

    name = "pouchdb-server"
    durable = "no: LevelDB without fsync"
    workloads: tuple[str, ...] = ("push", "conflict", "first_pull", "delta_pull")

    def __init__(self, home: Path, size: Size) -> None:
        self._home, self._size = home, size
        self._documents = Documents(7, size)
        self._server: Server
        self._held: list[str] = []

    def start(self) -> None:
        installed = npm_with("pouchdb-server", POUCHDB)
        port = free_port()
        data = self._home / "pouchdb"
        data.mkdir(parents=True)
        program = installed / "node_modules" / "pouchdb-server" / "bin" / "pouchdb-server"
        command = [str(node() / "node"), str(program), "--port", str(port), "--dir", str(data), "--no-stdout-logs"]
        self._server = Server(self.name, command, data, dict(os.environ), port)
        self._server.start()
        for name, count in (("pull", self._size.pull_records), ("delta", HELD)):
            self._call("PUT", f"/{name}")
            for _ in range(count // 500):
                made = self._documents.some(500)
                self._call("POST", f"/{name}/_bulk_docs", {"docs": [_doc(*one) for one in made]})
                if name == "delta":
                    self._held += [one for one, _ in made]

    def stop(self) -> None:
        self._server.stop()

    def roots(self) -> list[int]:
        return [self._server.pid]

    def measure(self, workload: str, number: int) -> Figures:
        return drive(self.name, self._load(workload, number), self.roots())

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        return call(self._server.port, method, path, body)

    def _load(self, workload: str, number: int) -> Load:
        size = self._size
        match workload:
            case "push":
                self._call("PUT", f"/push{number}")
                devices = [
                    [_bulk(f"push{number}", [_doc(*one) for one in batch]) for batch in batches]
                    for batches in self._documents.batches(size.push_devices, size.push_batches)
                ]
                count = size.push_devices * size.push_batches * BATCH
                return self._job(devices, b'"ok":true', count, count)
            case "conflict":
                return self._conflicts(number)
            case "first_pull":
                pull = request("GET", "/pull/_changes?include_docs=true&since=0")
                count = size.pulls * size.pull_records
                return self._job([[pull]] * size.pulls, b'"changes":[', count, count, connections=4)
            case _:
                since = self._call("GET", "/delta")["update_seq"]
                self._change(size.delta_changes)
                pull = request("GET", f"/delta/_changes?include_docs=true&since={since}")
                count = size.delta_devices * size.delta_changes
                return self._job([[pull]] * size.delta_devices, b'"changes":[', count, count)

    def _change(self, count: int) -> None:
        some = self._documents.chance.sample(self._held, count)
        rows = self._call("POST", "/delta/_all_docs?include_docs=true", {"keys": some})["rows"]
        docs = [row["doc"] | {"condition": condition(self._documents.chance)} for row in rows]
        self._call("POST", "/delta/_bulk_docs", {"docs": docs})

    def _conflicts(self, number: int) -> Load:
        """Edits on revisions that others have moved past: refused, fetched, laid over and written again."""
        name = f"conflict{number}"
        self._call("PUT", f"/{name}")
        devices = []
        for _ in range(self._size.conflict_devices):
            made = self._documents.some(BATCH)
            first = self._call("POST", f"/{name}/_bulk_docs", {"docs": [_doc(*one) for one in made]})
            revs = [answer["rev"] for answer in first]
            others = [
                _doc(one, body | {"name": "seen by the office", "condition": "as the office heard"}, rev)
                for (one, body), rev in zip(made, revs, strict=True)
            ]
            self._call("POST", f"/{name}/_bulk_docs", {"docs": others})
            mine = [
                _doc(one, body | {"name": "seen on site", "condition": "leak", "serial": "SN-1", "status": "installed"}, rev)
                for (one, body), rev in zip(made, revs, strict=True)
            ]
            devices.append([_bulk(name, mine, "couch_conflict")])
        count = len(devices) * BATCH
        return self._job(devices, b'"ok":true', count, count)

    def _job(
        self, devices: list[list[Request]], expect: bytes, expected: int, records: int, connections: int = CONNECTIONS
    ) -> Load:
        return Load(Job(self._server.port, devices, connections, expect, expected), records)


def _doc(one: str, body: Record, rev: str = "") -> dict[str, Any]:
    return {"_id": one, **({"_rev": rev} if rev else {}), **body}


def _bulk(name: str, docs: list[dict[str, Any]], follow: str = "") -> Request:
    return request("POST", f"/{name}/_bulk_docs", encode({"docs": docs}), follow=follow)
