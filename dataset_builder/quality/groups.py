"""Groups of what hangs together: connected components over links."""

from collections.abc import Iterable, Mapping

__all__ = ["connected_groups", "group_of"]


def connected_groups(names: Iterable[str], links: Iterable[Iterable[str]]) -> list[tuple[str, ...]]:
    """Return the groups that links make of names, each sorted, in the order of their first members.

    Args:
        names: Who there is; those without a link are groups of one.
        links: Names that belong together; names that are not in `names` join too.

    Example:
        >>> connected_groups(["a", "b", "c"], [("c", "a")])
        [('a', 'c'), ('b',)]
    """
    parents = {name: name for name in names}

    def find(name: str) -> str:
        parents.setdefault(name, name)
        root = name
        while parents[root] != root:
            root = parents[root]
        while parents[name] != root:
            parents[name], name = root, parents[name]
        return root

    for link in links:
        members = list(link)
        for other in members:
            one, two = sorted((find(members[0]), find(other)))
            parents[two] = one
    groups: dict[str, list[str]] = {}
    for name in sorted(parents):
        groups.setdefault(find(name), []).append(name)
    return [tuple(members) for members in groups.values()]


def group_of(groups: Iterable[Iterable[str]]) -> Mapping[str, str]:
    """Return name -> the first name of its group."""
    told: dict[str, str] = {}
    for group in groups:
        members = list(group)
        told.update((name, members[0]) for name in members)
    return told
