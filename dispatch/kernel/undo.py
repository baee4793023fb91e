"""What an iteration changes, saved way by way before it does, and the way back."""

from __future__ import annotations

from dispatch.kernel.jit import compiled, merged
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


@compiled
def touch(s: State, r: int) -> None:
    """Saves way r before its first change in this iteration."""
    if s.mark[TOUCHED_AT, r] >= 0:
        return
    k = s.cell[TOUCHED]
    s.cell[TOUCHED] = k + 1
    s.mark[TOUCHED_WAY, k], s.mark[TOUCHED_AT, r] = r, k
    length = s.sums[0, r, LENGTH]
    for c in range(s.sums.shape[2]):
        s.sums[1, k, c] = s.sums[0, r, c]
    for p in range(length + 1):
        for c in range(6):
            s.label[1, k, p, c] = s.label[0, r, p, c]
    for g in range(length + 3):
        s.gap[1, k, g] = s.gap[0, r, g]
    for p in range(length):
        item = s.seq[0, r, p]
        s.seq[1, k, p] = item
        if item < s.cell[JOB_COUNT]:
            s.kept[0, k, p] = s.job[CHOICE, item]


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
        for c in range(s.sums.shape[2]):
            s.sums[0, r, c] = s.sums[1, k, c]
        length = s.sums[0, r, LENGTH]
        for p in range(length + 1):
            for c in range(6):
                s.label[0, r, p, c] = s.label[1, k, p, c]
        for g in range(length + 3):
            s.gap[0, r, g] = s.gap[1, k, g]
        for p in range(length):
            item = s.seq[1, k, p]
            s.seq[0, r, p] = item
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
