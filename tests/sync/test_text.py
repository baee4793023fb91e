"""Laws of the three-way merge of texts: nothing is lost, whoever comes first."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.text import BETWEEN, END, MAX_DISTANCE, MINE, Merged, merge_text

texts = st.text("ab .\n", max_size=24)
words = st.lists(st.sampled_from("abcdefgh"), max_size=12).map(" ".join)
either = texts | words


def pieces(text: str) -> set[str]:
    """The words of a text, seen through the marks of a conflict."""
    return set(re.split(rf"[\s{MINE}{BETWEEN}{END}]+", text)) - {""}


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged"),
    [
        ("", "", "", Merged("", overlaps=False)),
        ("dog", "dog", "dog!", Merged("dog!", overlaps=False)),
        ("dog", "big dog", "dog", Merged("big dog", overlaps=False)),
        ("dog", "big dog", "dog asleep", Merged("big dog asleep", overlaps=False)),
        ("dog", "", "dog asleep", Merged(" asleep", overlaps=False)),
        ("dog", "cat", "cow", Merged("‹cat¦cow›", overlaps=True)),
        ("", "cat", "cow", Merged("‹cat¦cow›", overlaps=True)),
        ("a dog", "a", "a cow", Merged("a‹¦ cow›", overlaps=True)),
        ("a b c d", "a X c d", "a b c Y", Merged("a X c Y", overlaps=False)),
        ("a b c d", "a X d", "a b Y d", Merged("a ‹X¦b Y› d", overlaps=True)),
        ("gate 12\ndog", "gate 34\ndog", "gate 12\nno dog", Merged("gate 34\nno dog", overlaps=False)),
    ],
)
def test_edits_in_different_places_both_stand_and_others_are_marked(base: str, ours: str, theirs: str, merged: Merged) -> None:
    assert merge_text(base, ours, theirs) == merged


@given(either, either)
def test_an_edit_of_one_side_alone_wins(base: str, edited: str) -> None:
    assert merge_text(base, edited, base) == Merged(edited, overlaps=False)
    assert merge_text(base, base, edited) == Merged(edited, overlaps=False)


@given(either, either)
def test_equal_edits_merge_into_one(base: str, edited: str) -> None:
    assert merge_text(base, edited, edited) == Merged(edited, overlaps=False)


@given(either, either, either)
def test_which_side_comes_first_matters_only_inside_the_marks(base: str, ours: str, theirs: str) -> None:
    one, other = merge_text(base, ours, theirs), merge_text(base, theirs, ours)
    assert one.overlaps == other.overlaps
    if not one.overlaps:
        assert one == other
    assert one.overlaps == (MINE in one.text)


@given(either, either, either)
def test_no_word_that_somebody_wrote_is_lost(base: str, ours: str, theirs: str) -> None:
    merged = pieces(merge_text(base, ours, theirs).text)
    joined = "".join(merged)
    for side in (ours, theirs):
        assert all(word in merged or word in joined for word in pieces(side) - pieces(base))


@given(st.data())
def test_edits_of_different_words_both_stand_exactly(data: st.DataObject) -> None:
    base = [f"w{n}" for n in range(data.draw(st.integers(2, 30)))]
    places = st.sets(st.integers(0, len(base) - 1), max_size=8)
    mine = data.draw(places)
    other = data.draw(places) - mine
    ours = [f"m{n}" if n in mine else word for n, word in enumerate(base)]
    theirs = [f"t{n}" if n in other else word for n, word in enumerate(base)]
    both = [f"m{n}" if n in mine else f"t{n}" if n in other else word for n, word in enumerate(base)]
    assert merge_text(" ".join(base), " ".join(ours), " ".join(theirs)) == Merged(" ".join(both), overlaps=False)


def test_texts_that_are_worlds_apart_count_as_rewritten_and_keep_both() -> None:
    """Also shows that the largest text a field takes is merged in bounded work: a shortest script of it would have 20 000 steps."""
    far = MAX_DISTANCE + 1
    base, ours, theirs = (" ".join([word] * far) for word in "xyz")
    assert merge_text(f"{base} end", f"{ours} end", f"{theirs} end") == Merged(f"‹{ours}¦{theirs}› end", overlaps=True)
    full = "a " * 10_000
    merged = merge_text(full, "x " + full[:15_000], full[:15_000] + " y")
    assert {"x", "y"} <= pieces(merged.text)


def test_a_few_edits_of_a_long_text_are_found_wherever_they_are() -> None:
    base = [f"w{n % 7}" for n in range(5_000)]
    ours, theirs = base.copy(), base.copy()
    ours[2_500], theirs[0], theirs[-1] = "mine", "first", "last"
    merged = merge_text(" ".join(base), " ".join(ours), " ".join(theirs))
    assert not merged.overlaps
    assert {"mine", "first", "last"} <= pieces(merged.text)
