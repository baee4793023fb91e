"""What an iteration changes, saved way by way before it does, and the way back."""

from __future__ import annotations

from dispatch.kernel.jit import compiled, inlined, merged
from dispatch.kernel.shape import (
    CHOICE,
    JOB_COUNT,
    LENGTH,
    POS,
    TOUCHED,
    TOUCHED_AT,
    TOUCHED_WAY,
    WAY_OF,
    WORK,
    State,
)


@inlined
def copy_way(s: State, layer: int, r: int, source: int, k: int) -> None:
    """Makes way r of a layer what way k of another layer is, but for the options chosen."""
    length = s.sums[source, k, LENGTH]
    for c in range(s.sums.shape[2]):
        s.sums[layer, r, c] = s.sums[source, k, c]
    for p in range(length + 1):
        for c in range(6):
            s.label[layer, r, p, c] = s.label[source, k, p, c]
    for g in range(length + 3):
        s.gap[layer, r, g] = s.gap[source, k, g]
    for p in range(length):
        s.seq[layer, r, p] = s.seq[source, k, p]


@compiled
def touch(s: State, r: int) -> None:
    """Saves way r before its first change in this iteration."""
    if s.mark[TOUCHED_AT, r] >= 0:
        return
    k = s.cell[TOUCHED]
    s.cell[TOUCHED] = k + 1
    s.mark[TOUCHED_WAY, k], s.mark[TOUCHED_AT, r] = r, k
    copy_way(s, 1, k, 0, r)
    for p in range(s.sums[0, r, LENGTH]):
        if s.seq[0, r, p] < s.cell[JOB_COUNT]:
            s.kept[0, k, p] = s.job[CHOICE, s.seq[0, r, p]]


@compiled
def take_back(s: State) -> None:
    """Undoes everything since the iteration began."""
    n = s.cell[JOB_COUNT]
    for k in range(s.cell[TOUCHED]):
        r = s.mark[TOUCHED_WAY, k]
        for p in range(s.sums[0, r, LENGTH]):
            if s.seq[0, r, p] < n:
                s.job[WAY_OF, s.seq[0, r, p]] = -1
    for k in range(s.cell[TOUCHED]):
        r = s.mark[TOUCHED_WAY, k]
        copy_way(s, 0, r, 1, k)
        for p in range(s.sums[0, r, LENGTH]):
            item = s.seq[0, r, p]
            if item < n:
                s.job[WAY_OF, item], s.job[POS, item], s.job[CHOICE, item] = r, p, s.kept[0, k, p]


@merged
def same(s: State, r: int, k: int) -> bool:
    """Whether touched way k, which is r, came out as it was: every third iteration puts all jobs back."""
    length, n = s.sums[0, r, LENGTH], s.cell[JOB_COUNT]
    if length != s.sums[1, k, LENGTH]:
        return False
    alike = True
    for p in range(length):
        item = s.seq[0, r, p]
        alike = alike and item == s.seq[1, k, p] and (item >= n or s.job[CHOICE, item] == s.kept[0, k, p])
    for g in range(length + 3):
        alike = alike and s.gap[0, r, g] == s.gap[1, k, g]
    return alike


@compiled
def forget(s: State) -> None:
    """Clears the marks of an iteration."""
    for k in range(s.cell[TOUCHED]):
        s.mark[TOUCHED_AT, s.mark[TOUCHED_WAY, k]] = -1
    s.cell[TOUCHED] = s.cell[WORK] = 0
