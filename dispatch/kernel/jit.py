"""Ways to compile: cached on disk, without the interpreter's lock, typed for the checker as the plain function.

Compiled functions here allocate nothing, so reference counting is left out: handing some thirty arrays from call to call would
otherwise cost more than the search itself.

What a function calls is optimised again in every caller, so depth is what compiling costs: functions with one caller are `merged`
into it, callees have no wrappers for Python, and Python enters in two places only. This halved a first compile (62 to 29 seconds of
processor time) and left every plan as it was.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import numba

HERE = Path(__file__).parent


def _forget_other_editions(kept: Path) -> None:
    """Removes machine code that was made from other sources than today's.

    numba looks at a function's own file only, but what is compiled holds the constants and callees of all the others as well.
    """
    edition = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(HERE.glob("*.py")))).hexdigest()
    stamp = kept / "edition"
    with contextlib.suppress(OSError):
        if stamp.exists() and stamp.read_text() == edition:
            return
        for code in kept.glob("*.nb[ic]"):
            code.unlink(missing_ok=True)
        kept.mkdir(exist_ok=True)
        stamp.write_text(edition)


_forget_other_editions(HERE / "__pycache__")

Function = TypeVar("Function", bound=Callable[..., object])

# numba's stubs do not know `_nrt`.
_njit = cast("Callable[..., Callable[[object], object]]", numba.njit)


def entry(function: Function) -> Function:
    """The function as machine code that Python may call, built on first use and kept beside its source."""
    return cast("Function", _njit(cache=True, nogil=True, error_model="numpy", _nrt=False)(function))


def compiled(function: Function) -> Function:
    """Like `entry`, for callees only: without the wrappers that unpack some thirty arrays, half the time to compile."""
    return cast(
        "Function",
        _njit(cache=True, nogil=True, error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function),
    )


def inlined(function: Function) -> Function:
    """Like `compiled`, for the small functions of inner loops: always part of the caller."""
    return cast(
        "Function",
        _njit(
            cache=True,
            nogil=True,
            error_model="numpy",
            _nrt=False,
            forceinline=True,
            no_cpython_wrapper=True,
            no_cfunc_wrapper=True,
        )(function),
    )


def merged(function: Function) -> Function:
    """Part of the caller before it is typed: never compiled by itself. For functions with one or two callers."""
    return cast("Function", _njit(error_model="numpy", _nrt=False, inline="always")(function))
