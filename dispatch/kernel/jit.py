"""Two ways to compile: cached on disk, without the interpreter's lock, typed for the checker as the plain function.

Compiled functions here allocate nothing, so reference counting is left out: handing some thirty arrays from call to call would
otherwise cost more than the search itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])

# numba's stubs do not know `_nrt`.
_njit = cast("Callable[..., Callable[[object], object]]", numba.njit)


def compiled(function: Function) -> Function:
    """The function as machine code, built on first use and kept beside its source."""
    return cast("Function", _njit(cache=True, nogil=True, error_model="numpy", _nrt=False)(function))


def inlined(function: Function) -> Function:
    """Like `compiled`, for the small functions of inner loops: always part of the caller."""
    return cast("Function", _njit(cache=True, nogil=True, error_model="numpy", _nrt=False, forceinline=True)(function))
