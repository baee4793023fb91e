"""RxDB server on Express, with RxDB's in-memory storage: the fastest that installs without more."""

import os
import shutil
from pathlib import Path
from typing import Any, Final

from benchmarks.sync.drive import drive
from benchmarks.sync.peers.documents import Documents, encode
from benchmarks.sync.peers.install import RXDB, node, npm_with
from benchmarks.sync.system import Figures, Load, Server, call, free_port
from benchmarks.sync.wire import Job, Request, request
from benchmarks.sync.workload import BATCH, CONNECTIONS, Record, Size, condition

HELD: Final = 1_000
ROUNDS: Final = 12
PROGRAM: Final = Path(__file__).with_name("rxdb_server.mjs")


class RxDB:
    """A push is a POST of rows with the state that the client assumes; what conflicts comes back with the master's state."""

    name = "rxdb-server"
    durable = "no: in memory only"
    workloads: tuple[str, ...] = ("push", "conflict", "first_pull", "delta_pull")

    def __init__(self, home: Path, size: Size) -> None:
        self._home, self._size = home, size
        self._documents = Documents(9, size)
        self._server: Server
        self._held: dict[str, Record] = {}

    def start(self) -> None:
        installed = npm_with("rxdb-server", RXDB)
        program = installed / PROGRAM.name  # packages are looked for beside the program
        shutil.copy(PROGRAM, program)
        port = free_port()
        names = ["pull", "delta", *(f"push{n}" for n in range(ROUNDS)), *(f"conflict{n}" for n in range(ROUNDS))]
        command = [str(node() / "node"), str(program), str(port), *names]
        self._server = Server(self.name, command, self._home / "rxdb", dict(os.environ), port)
        self._server.start()
        for _ in range(self._size.pull_records // BATCH):
            self._write("pull", dict(self._documents.some(BATCH)))
        for _ in range(HELD // BATCH):
            made = dict(self._documents.some(BATCH))
            self._write("delta", made)
            self._held |= made

    def stop(self) -> None:
        self._server.stop()

    def roots(self) -> list[int]:
        return [self._server.pid]

    def measure(self, workload: str, number: int) -> Figures:
        return drive(self.name, self._load(workload, number), self.roots())

    def _write(self, name: str, records: dict[str, Record], assumed: dict[str, Record] | None = None) -> None:
        rows = [_row(one, body, (assumed or {}).get(one)) for one, body in records.items()]
        call(self._server.port, "POST", f"/{name}/0/push", rows)

    def _load(self, workload: str, number: int) -> Load:
        size = self._size
        match workload:
            case "push":
                devices = [
                    [_push(f"push{number}", [_row(*one) for one in batch]) for batch in batches]
                    for batches in self._documents.batches(size.push_devices, size.push_batches)
                ]
                count = size.push_devices * size.push_batches
                return self._job(devices, b"[]", count, count * BATCH)  # nothing conflicts
            case "conflict":
                return self._conflicts(number)
            case "first_pull":
                pull = request("GET", f"/pull/0/pull?lwt=0&id=&limit={size.pull_records}")
                count = size.pulls * size.pull_records
                return self._job([[pull]] * size.pulls, b'"_deleted":', count, count, connections=4)
            case _:
                newest = call(self._server.port, "GET", f"/delta/0/pull?lwt=0&id=&limit={HELD * 100}")["checkpoint"]
                some = self._documents.chance.sample(sorted(self._held), size.delta_changes)
                changed = {one: self._held[one] | {"condition": condition(self._documents.chance)} for one in some}
                self._write("delta", changed, self._held)
                self._held |= changed
                pull = request("GET", f"/delta/0/pull?lwt={newest['lwt']}&id={newest['id']}&limit=2000")
                count = size.delta_devices * size.delta_changes
                return self._job([[pull]] * size.delta_devices, b'"_deleted":', count, count)

    def _conflicts(self, number: int) -> Load:
        """Edits of states that others have moved past: refused with the master's state, laid over it and written again."""
        name = f"conflict{number}"
        devices = []
        for _ in range(self._size.conflict_devices):
            made = dict(self._documents.some(BATCH))
            self._write(name, made)
            self._write(
                name, {one: body | {"name": "seen by the office", "condition": "heard"} for one, body in made.items()}, made
            )
            mine = [
                _row(one, body | {"name": "seen on site", "condition": "leak", "serial": "SN-1", "status": "installed"}, body)
                for one, body in made.items()
            ]
            devices.append([_push(name, mine, "rxdb_conflict")])
        return self._job(devices, b'"name":"seen by the office"', len(devices) * BATCH, len(devices) * BATCH)

    def _job(
        self, devices: list[list[Request]], expect: bytes, expected: int, records: int, connections: int = CONNECTIONS
    ) -> Load:
        return Load(Job(self._server.port, devices, connections, expect, expected), records)


def _row(one: str, body: Record, assumed: Record | None = None) -> dict[str, Any]:
    state = {"id": one, "_deleted": False}
    return {"newDocumentState": state | body, **({"assumedMasterState": state | assumed} if assumed else {})}


def _push(name: str, rows: list[dict[str, Any]], follow: str = "") -> Request:
    return request("POST", f"/{name}/0/push", encode(rows), follow=follow)
