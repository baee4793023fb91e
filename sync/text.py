"""Three-way merge of free text on words: edits in different places both stand, overlapping ones keep both, marked.

The difference of two texts is the shortest edit script (Myers, 1986). Its cost grows with the number of differences, not with the
length, and that number is bounded: texts further apart than `MAX_DISTANCE` words count as rewritten as a whole, so that no text
that fits a field can hold up a server.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(r"\s+|[^\s]+")
_NOWHERE: Final = (2**62, 0)
MAX_DISTANCE: Final = 400
MINE, BETWEEN, END = "‹", "¦", "›"


class Hunk(NamedTuple):
    """Tokens `low:high` of the base become `tokens`."""

    low: int
    high: int
    tokens: tuple[str, ...]


class Merged(NamedTuple):
    text: str
    overlaps: bool


def merge_text(base: str, ours: str, theirs: str) -> Merged:
    """Both edits of `base` in one text; where they overlap and differ, `‹ours¦theirs›` stands and `overlaps` is set.

    >>> merge_text("gate code 12, dog", "gate code 34, dog", "gate code 12, dog asleep")
    Merged(text='gate code 34, dog asleep', overlaps=False)
    >>> merge_text("gate code 12", "gate code 34", "gate code 56")
    Merged(text='gate code ‹34¦56›', overlaps=True)
    """
    if theirs in (ours, base):
        return Merged(ours, overlaps=False)
    if ours == base:
        return Merged(theirs, overlaps=False)
    tokens = _TOKEN.findall(base)
    left, right = _hunks(tokens, ours), _hunks(tokens, theirs)
    merged: list[str] = []
    position, overlaps = 0, False
    while left or right:
        low, high, taken_left, taken_right = _next_region(left, right)
        merged += tokens[position:low]
        mine = _rebuild(tokens, low, high, taken_left)
        other = _rebuild(tokens, low, high, taken_right)
        if taken_left and taken_right and mine != other:
            overlaps = True
            merged += [MINE, *mine, BETWEEN, *other, END]
        else:
            merged += mine if taken_left else other
        position = high
    return Merged("".join(merged + tokens[position:]), overlaps)


def _hunks(tokens: list[str], edited: str) -> list[Hunk]:
    """The edits from `tokens` to `edited`, last first, so that the next one is popped off the end."""
    after = _TOKEN.findall(edited)
    hunks: list[Hunk] = []
    low = at = 0
    for start, length in (*_common(tokens, after), ((len(tokens), len(after)), 0)):
        if start != (low, at):
            hunks.append(Hunk(low, start[0], tuple(after[at : start[1]])))
        low, at = start[0] + length, start[1] + length
    hunks.reverse()
    return hunks


def _common(a: Sequence[str], b: Sequence[str]) -> Iterator[tuple[tuple[int, int], int]]:
    """Where the sequences run alike, in order: ((place in a, place in b), how long)."""
    head, tail = 0, 0
    shorter = min(len(a), len(b))
    while head < shorter and a[head] == b[head]:
        head += 1
    while tail < shorter - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    yield (0, 0), head
    for (x, y), length in _snakes(a[head : len(a) - tail], b[head : len(b) - tail]):
        yield (head + x, head + y), length
    yield (len(a) - tail, len(b) - tail), tail


def _snakes(a: Sequence[str], b: Sequence[str]) -> list[tuple[tuple[int, int], int]]:
    """The runs that a shortest edit script leaves alone; none if it is longer than `MAX_DISTANCE`."""
    furthest = {1: 0}
    trace: list[dict[int, int]] = []
    for distance in range(min(len(a) + len(b), MAX_DISTANCE) + 1):
        trace.append(furthest)
        furthest = dict(furthest)
        for k in range(-distance, distance + 1, 2):
            x = _step(trace[-1], k, distance)
            y = x - k
            while x < len(a) and y < len(b) and a[x] == b[y]:
                x, y = x + 1, y + 1
            furthest[k] = x
            if x >= len(a) and y >= len(b):
                return _walk_back(trace, len(a), len(b))
    return []


def _step(furthest: dict[int, int], k: int, distance: int) -> int:
    """How far in `a` diagonal `k` begins after one more edit: an insertion from above or a deletion from the left."""
    return furthest[k + 1] if _inserts(furthest, k, distance) else furthest[k - 1] + 1


def _inserts(furthest: dict[int, int], k: int, distance: int) -> bool:
    return k == -distance or (k != distance and furthest[k - 1] < furthest[k + 1])


def _walk_back(trace: list[dict[int, int]], x: int, y: int) -> list[tuple[tuple[int, int], int]]:
    snakes: list[tuple[tuple[int, int], int]] = []
    for distance in range(len(trace) - 1, -1, -1):
        k, furthest = x - y, trace[distance]
        begin = _step(furthest, k, distance)
        if x > begin:
            snakes.append(((begin, begin - k), x - begin))
        k += 1 if _inserts(furthest, k, distance) else -1
        x = furthest[k]
        y = x - k
    snakes.reverse()
    return snakes


def _next_region(left: list[Hunk], right: list[Hunk]) -> tuple[int, int, list[Hunk], list[Hunk]]:
    """Pop the first hunk and all that it overlaps, directly or through others, on either side."""
    sides = (left, right)
    taken: tuple[list[Hunk], list[Hunk]] = ([], [])
    first = min((0, 1), key=lambda n: sides[n][-1][:2] if sides[n] else _NOWHERE)
    taken[first].append(sides[first].pop())
    grew = True
    while grew:
        grew = False
        for n in (0, 1):
            while sides[n] and any(_overlap(sides[n][-1], hunk) for hunk in taken[1 - n]):
                taken[n].append(sides[n].pop())
                grew = True
    hunks = taken[0] + taken[1]
    return min(h.low for h in hunks), max(h.high for h in hunks), *taken


def _overlap(a: Hunk, b: Hunk) -> bool:
    both_insert = a.low == a.high == b.low == b.high
    return both_insert or (a.low < b.high and b.low < a.high)


def _rebuild(tokens: list[str], low: int, high: int, hunks: list[Hunk]) -> list[str]:
    out: list[str] = []
    position = low
    for hunk in hunks:
        out += [*tokens[position : hunk.low], *hunk.tokens]
        position = hunk.high
    return out + tokens[position:high]
