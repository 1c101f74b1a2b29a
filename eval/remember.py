"""Do arithmetic on a picture once, though several views and features of it ask for it."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

__all__ = ["remembered"]

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")

_MOST = 64
"""Results kept per thread and function. Our choice: more than the frames of a shot that are usually looked at."""


def remembered(function: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """Return a function that remembers its last results, by the identity of its arguments and not by their contents.

    For arrays that are not changed once they are made. The arguments are kept alive with the result, so that no other
    object can take their place. Results are shared: a caller must not change them.
    """
    of_thread = threading.local()

    @wraps(function)
    def wrapped(*given: _Given.args, **named: _Given.kwargs) -> _Made:
        kept: OrderedDict[Any, Any] = of_thread.__dict__.setdefault("kept", OrderedDict())
        key = tuple(id(value) for value in given)
        if key in kept:
            kept.move_to_end(key)
            result: _Made = kept[key][1]
            return result
        made = function(*given, **named)
        kept[key] = (given, made)
        if len(kept) > _MOST:
            kept.popitem(last=False)
        return made

    return wrapped
