"""Work in a thread of its own, so that what its callbacks say can be shown while it goes on."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["in_background"]


def in_background(work: Callable[[Callable[[Any], None]], Iterator[Any]]) -> Iterator[Any]:
    """Yield what an iterator yields and what its callbacks tell, in the order in which it comes.

    Args:
        work: Gets `tell`, by which a callback adds something, and returns the iterator. An exception in it is raised
            here. Who stops listening does not stop it; it must be told otherwise.
    """
    said: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            for thing in work(lambda told: said.put(("thing", told))):
                said.put(("thing", thing))
        except BaseException as error:
            said.put(("error", error))
        else:
            said.put(("end", None))

    threading.Thread(target=run, name="animeshooter-web", daemon=True).start()
    while True:
        kind, thing = said.get()
        if kind == "end":
            return
        if kind == "error":
            raise thing
        yield thing
