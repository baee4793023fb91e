"""Chance that can be repeated."""

from random import Random


def luck(*seed: object) -> Random:
    """A source of chance of its own for whoever the seed names."""
    return Random(".".join(map(str, seed)))  # noqa: S311  # a story is drawn from it, no secret
