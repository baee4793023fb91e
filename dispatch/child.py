"""Processes of our own in which OR-Tools runs: it holds the interpreter's lock while it searches, so never in the caller's.

A child is started by name, not forked and not by `multiprocessing` (which runs the caller's main module again), answers one
function call after another over a socket pair, and stays warm for the next. It ends when its parent does: the pair is closed then.
A function that raises ends its child with the traceback on standard error; the caller gets `ChildLost`.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

POLL_S = 0.02
IDLE = 2  # children kept warm
ANSWER_S = 120.0  # an answer that takes longer is none


class ChildLost(RuntimeError):
    """A child ended, or fell silent, before it answered; the words name the function it was asked."""


class Stopped(Exception):
    """The caller no longer wants the answer; the child that was at it is gone."""


class _Child:
    def __init__(self) -> None:
        self.ours, theirs = Pipe()
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-c", f"from dispatch.child import serve; serve({theirs.fileno()})"],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            env=environment,
            start_new_session=True,  # a Ctrl-C is the parent's to handle
        )
        theirs.close()

    def close(self) -> None:
        self.ours.close()
        self.process.kill()
        self.process.wait()


_idle: list[_Child] = []
_lock = threading.Lock()


def prepare() -> None:
    """Starts a child when none is warm, so that its start-up falls into the caller's own work."""
    with _lock:
        if not any(child.process.poll() is None for child in _idle):
            _idle.append(_Child())


def ask(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What the function of a module answers in a child. Raises ChildLost when two children in a row are lost over it."""
    return ask_until(_never, function, *args, **kwargs)


def ask_until(stop: Callable[[], bool], function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """`ask` that raises Stopped when `stop` says True, which it is asked every 20 ms."""
    for last in (False, True):
        with _lock:
            child = _idle.pop() if _idle else _Child()
        kept = False
        try:
            child.ours.send((function, args, kwargs))
            answer = _awaited(child, stop, function.__qualname__)
            kept = True
            return cast("R", answer)
        except (EOFError, ConnectionError):
            if last:
                raise ChildLost(f"the OR-Tools process ended over {function.__qualname__}") from None
        finally:
            with _lock:
                kept = kept and len(_idle) < IDLE
                if kept:
                    _idle.append(child)
            if not kept:
                child.close()
    raise AssertionError


def _awaited(child: _Child, stop: Callable[[], bool], name: str) -> object:
    deadline_s = time.monotonic() + ANSWER_S
    while not child.ours.poll(POLL_S):
        if stop():
            raise Stopped
        if time.monotonic() > deadline_s:
            raise ChildLost(f"the OR-Tools process gave no answer to {name} in {ANSWER_S:.0f} s")
    return child.ours.recv()


def serve(descriptor: int) -> None:
    """The child's life: calls what it is asked until the parent's end is closed."""
    pair = Connection(descriptor)
    while True:
        try:
            function, args, kwargs = pair.recv()
        except EOFError:
            return
        answer = function(*args, **kwargs)
        try:
            pair.send(answer)
        except ConnectionError:
            return


def _never() -> bool:
    return False


@atexit.register
def _close() -> None:
    while _idle:
        _idle.pop().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # a fork must not talk over its parent's line
