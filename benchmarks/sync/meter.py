"""What a system's processes have used: the CPU time of whole process trees, those that have ended included."""

from collections.abc import Iterable

import psutil


def cpu_s(roots: Iterable[int]) -> float:
    """User and system time of the processes and all their descendants, in seconds."""
    total = 0.0
    for root in roots:
        for process in _tree(root):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:  # its time is its parent's by now, or is lost to init
                continue
            total += times.user + times.system + getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return total


def memory_mb(roots: Iterable[int]) -> float:
    """Memory of the processes that they share with nobody, in MB."""
    total = 0
    for root in roots:
        for process in _tree(root):
            try:
                total += process.memory_full_info().uss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
    return round(total / 1e6, 1)


def _tree(root: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
