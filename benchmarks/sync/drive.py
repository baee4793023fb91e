"""Running one load against one system, and the CPU that it takes meanwhile."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.sync.meter import cpu_s
from benchmarks.sync.system import Failed, Figures, Load
from benchmarks.sync.wire import Answered


def drive(name: str, load: Load, roots: Sequence[int]) -> Figures:
    """Send the load from a process of its own. Raises `Failed` if the replies are not those of work done."""
    with tempfile.NamedTemporaryFile(suffix=".job") as file:
        file.write(msgspec.msgpack.encode(load.job))
        file.flush()
        before = cpu_s(roots)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.sync.load", file.name],
            capture_output=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )
        used = cpu_s(roots) - before
    if done.returncode:
        raise Failed(f"{name}: {done.stderr.decode(errors='replace')[-800:]}")
    answered = msgspec.json.decode(done.stdout, type=Answered)
    if answered.found != load.job.expected:
        raise Failed(
            f"{name}: {answered.found} of {load.job.expected} {load.job.expect!r} in the replies; statuses {answered.statuses}"
        )
    return Figures(
        answered.wall_s,
        used,
        load.records,
        answered.requests,
        answered.up_bytes,
        answered.down_bytes,
        answered.latency_ms,
        load.note,
    )
