"""Where attachments lie: a folder by default, or any store that obstore knows by its URL (S3 and what speaks like it, GCS, Azure).

Content is filed by tenant and sha256, so tenants share nothing and what was once put never changes.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

if TYPE_CHECKING:
    from obstore import GetResult

READ_BYTES: Final = 256 * 1024
BlobFault = BaseError
"""What any operation here raises when the store cannot be reached or refuses."""


def _key(tenant_id: int, sha256: str) -> str:
    return f"{tenant_id}/{sha256[:2]}/{sha256}"


class Blobs:
    def __init__(self, store: ObjectStore, folder: Path | None = None) -> None:
        """`folder` is where a store on local disk keeps its files."""
        self._store, self._folder = store, folder

    @classmethod
    def open(cls, url: str, home: Path) -> Self:
        """The store at `url`, or a folder in `home` if that is empty. Raises `BlobFault` if the URL is of no known kind.

        Credentials and endpoint of a cloud store come from the environment, as its own tools read them (`AWS_…` for S3).
        """
        if url:
            return cls(from_url(url))
        folder = home.resolve() / "attachments"
        return cls(LocalStore(folder, mkdir=True), folder)

    async def size(self, tenant_id: int, sha256: str) -> int | None:
        """How many bytes the content has; None if the store does not have it."""
        try:
            found = await obstore.head_async(self._store, _key(tenant_id, sha256))
        except (NotFoundError, FileNotFoundError):
            return None
        return found["size"]

    async def put(self, tenant_id: int, sha256: str, source: Path) -> None:
        """File the content of `source`; once this returns, a power cut does not take it away."""
        key = _key(tenant_id, sha256)
        await obstore.put_async(self._store, key, source)
        if self._folder is not None:
            await asyncio.to_thread(_settle, self._folder / key, self._folder)

    async def read(self, tenant_id: int, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, not including, `end`, piece by piece. Raises FileNotFoundError if there is none."""
        found = await obstore.get_async(self._store, _key(tenant_id, sha256), options={"range": (start, end)})
        return _pieces(found)


async def _pieces(found: "GetResult") -> AsyncIterator[bytes]:
    async for piece in found.stream(min_chunk_size=READ_BYTES):
        yield bytes(piece)


def _settle(path: Path, top: Path) -> None:
    """Flush a file, and the folders up to `top` that name it."""
    for step in (path, *path.parents):
        handle = os.open(step, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        if step == top:
            return
