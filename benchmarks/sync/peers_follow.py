"""What a client of a peer sends after a refused write: it takes what is there, lays its own fields over it, and writes again."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from benchmarks.sync.wire import Request

OWN: Final = ("name", "condition", "serial", "status")
"""The fields that the conflicting edits of the workload write."""


def _couch_refused(request: Request, body: bytes) -> Request | None:
    """Ask for the revisions that are there now."""
    refused = {answer["id"] for answer in msgspec.json.decode(body) if "error" in answer}
    mine = [doc for doc in msgspec.json.decode(request.body)["docs"] if doc["_id"] in refused]
    if not mine:
        return None
    head = request.head.replace(b"/_bulk_docs", b"/_all_docs?include_docs=true")
    keys = {"keys": [doc["_id"] for doc in mine], "mine": mine}
    return Request(head, msgspec.json.encode(keys), "couch_fetched")


def _couch_fetched(request: Request, body: bytes) -> Request | None:
    mine = {doc["_id"]: doc for doc in msgspec.json.decode(request.body)["mine"]}
    docs = [row["doc"] | {name: mine[row["id"]][name] for name in OWN} for row in msgspec.json.decode(body)["rows"]]
    head = request.head.replace(b"/_all_docs?include_docs=true", b"/_bulk_docs")
    return Request(head, msgspec.json.encode({"docs": docs}))


def _rxdb_refused(request: Request, body: bytes) -> Request | None:
    mine = {row["newDocumentState"]["id"]: row["newDocumentState"] for row in msgspec.json.decode(request.body)}
    rows: list[dict[str, Any]] = [
        {"assumedMasterState": master, "newDocumentState": master | {name: mine[master["id"]][name] for name in OWN}}
        for master in msgspec.json.decode(body)
    ]
    return Request(request.head, msgspec.json.encode(rows)) if rows else None


def _kinto_refused(request: Request, body: bytes) -> Request | None:
    """Under load it refuses some of a batch for the moment: these are sent again."""
    sent, answers = msgspec.json.decode(request.body), msgspec.json.decode(body)["responses"]
    again = [one for one, answer in zip(sent["requests"], answers, strict=True) if answer["status"] not in (200, 201)]
    return Request(request.head, msgspec.json.encode(sent | {"requests": again}), request.follow) if again else None


NEXT: Final[dict[str, Callable[[Request, bytes], Request | None]]] = {
    "couch_conflict": _couch_refused,
    "couch_fetched": _couch_fetched,
    "rxdb_conflict": _rxdb_refused,
    "kinto_refused": _kinto_refused,
}
