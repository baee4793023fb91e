"""What is measured: a system that takes the workload, with the processes whose CPU counts."""

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from benchmarks.sync.wire import Job


class Load(msgspec.Struct, frozen=True):
    """One measurement: what is sent, and how many records it comes to. `note` says where a system had to be given less or other."""

    job: Job
    records: int
    note: str = ""


class Figures(msgspec.Struct, frozen=True):
    """What came of one measurement. CPU is that of the server's processes and its database's, not of the load generator."""

    wall_s: float
    cpu_s: float
    records: int
    requests: int
    up_bytes: int = 0
    down_bytes: int = 0
    latency_ms: tuple[float, float, float] = (0.0, 0.0, 0.0)
    note: str = ""


class System(Protocol):
    """`durable` says what a write has reached when it is acknowledged."""

    name: str
    durable: str
    workloads: tuple[str, ...]

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def roots(self) -> list[int]: ...
    def measure(self, workload: str, number: int) -> Figures:
        """Prepare one round of a workload, unmeasured, and run it."""
        ...


class Failed(RuntimeError):
    """A system did not do what it was asked to; the report names it."""


class Server:
    """A server process on a port of this machine, its output in a file."""

    def __init__(self, name: str, command: Sequence[str], home: Path, env: Mapping[str, str], port: int) -> None:
        self.name, self._command, self._home, self._env, self.port = name, list(command), home, dict(env), port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, health: str = "/", within_s: float = 180.0) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        log = self._home / f"{self.name}.log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(self._command, cwd=self._home, env=self._env, stdout=out, stderr=out)
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{health}", timeout=2):
                    return
            except urllib.error.HTTPError:
                return  # it answers
            except OSError:
                time.sleep(0.1)
        self.stop()
        raise Failed(f"{self.name} does not answer: {log.read_text(errors='replace')[-500:]}")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def call(port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
    """One unmeasured request; the decoded reply. Raises urllib.error.HTTPError."""
    data = None if body is None else msgspec.json.encode(body)
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data, {"content-type": "application/json", **(headers or {})}, method=method
    )
    with urllib.request.urlopen(asked, timeout=120) as reply:
        return msgspec.json.decode(reply.read() or b"null")
