"""Three-way merge of free text on words: edits in different places both stand, overlapping ones keep both, marked."""

import re
from difflib import SequenceMatcher
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(r"\s+|[^\s]+")
_NOWHERE: Final = (2**62, 0)
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
    codes = SequenceMatcher(None, tokens, after, autojunk=False).get_opcodes()
    return [Hunk(i1, i2, tuple(after[j1:j2])) for tag, i1, i2, j1, j2 in reversed(codes) if tag != "equal"]


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
