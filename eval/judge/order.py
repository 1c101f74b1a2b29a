"""Who stands where in a prompt, and under which name.

A cyclic Latin square gives each of k systems each position exactly once in k rounds; random shuffles need many more
rounds for that. Names are neutral and go by position, so a name says nothing about a system.
"""

__all__ = ["is_balanced", "latin_orders", "position_label"]


def latin_orders(num_systems: int, num_rounds: int) -> tuple[tuple[int, ...], ...]:
    """Return one order per round: which system stands at each position.

    Row r begins with system r modulo k, and the others follow cyclically.

    Raises:
        ValueError: If a number is below 1.

    Example:
        >>> latin_orders(3, 3)
        ((0, 1, 2), (1, 2, 0), (2, 0, 1))
    """
    if num_systems < 1 or num_rounds < 1:
        raise ValueError(f"num_systems and num_rounds must be at least 1, got {num_systems} and {num_rounds}.")
    return tuple(
        tuple((first + position) % num_systems for position in range(num_systems)) for first in range(num_rounds)
    )


def is_balanced(num_systems: int, num_rounds: int) -> bool:
    """Return whether every system stands at every position equally often."""
    return num_rounds % num_systems == 0


def position_label(position: int) -> str:
    """Return the neutral name of a position: Model_A, ..., Model_Z, Model_AA, ...

    Raises:
        ValueError: If the position is below 0.
    """
    if position < 0:
        raise ValueError(f"position must be at least 0, got {position}.")
    letters, rest = "", position + 1
    while rest:
        rest, letter = divmod(rest - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return f"Model_{letters}"
