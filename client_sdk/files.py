"""Contents of attachments as files named by their sha256, in a folder beside the replica's. What has its final name is whole."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, Final

COPY_BYTES: Final = 1024 * 1024
_PART: Final = ".part"


class Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, sha256: str) -> Path:
        return self._folder / sha256

    def keep(self, content: bytes | Path) -> tuple[str, int]:
        """Store a content for good, and return its sha256 and size."""
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._folder, suffix=".new")
        fresh, digest, size_bytes = Path(name), hashlib.sha256(), 0
        try:
            with os.fdopen(handle, "wb") as file:
                for piece in _pieces(content):
                    digest.update(piece)
                    size_bytes += file.write(piece)
                _flush(file)
            self._name(fresh, digest.hexdigest())
        finally:
            fresh.unlink(missing_ok=True)
        return digest.hexdigest(), size_bytes

    def read(self, sha256: str, offset: int, size_bytes: int) -> bytes:
        with self.path(sha256).open("rb") as file:
            file.seek(offset)
            return file.read(size_bytes)

    def damaged(self, sha256: str, size_bytes: int) -> bool:
        """Whether the file is not what its name says."""
        path = self.path(sha256)
        return not path.exists() or path.stat().st_size != size_bytes or _sha256(path) != sha256

    def partial_bytes(self, sha256: str) -> int:
        """How much of a download is here."""
        part = self._part(sha256)
        return part.stat().st_size if part.exists() else 0

    def extend(self, sha256: str, at: int, piece: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._part(sha256).open("ab") as file:
            file.truncate(at)
            file.write(piece)

    def complete(self, sha256: str) -> bool:
        """Give a finished download its name, if it is what it should be; else drop it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._part(sha256)
        with part.open("ab") as file:
            _flush(file)
        if _sha256(part) != sha256:
            part.unlink()
            return False
        self._name(part, sha256)
        return True

    def trim(self, keep_bytes: int, needed: Collection[str]) -> None:
        """Drop contents that are not needed, the oldest first, until so many bytes are left; and what unfinished copies left."""
        if not self._folder.exists():
            return
        found = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime)
        total = sum(path.stat().st_size for path in found)
        for path in found:
            if total <= keep_bytes:
                return
            if path.name not in needed:
                total -= path.stat().st_size
                path.unlink()

    def erase(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _part(self, sha256: str) -> Path:
        return self._folder / (sha256 + _PART)

    def _name(self, fresh: Path, sha256: str) -> None:
        fresh.replace(self.path(sha256))
        if os.name == "posix":  # elsewhere a folder cannot be flushed, and need not be
            handle = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _pieces(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while piece := file.read(COPY_BYTES):
            yield piece


def _flush(file: BinaryIO) -> None:
    """Until the content survives an empty battery. A signature is worth one fsync."""
    file.flush()
    os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
