"""What is held out: whole groups, by a stable hash.

Frames of one video resemble each other, so a split that separates them tests on what was trained
on. Which groups are held out depends on their names and sizes alone: not on the order of files, the
machine, or Python's own `hash`, which changes from run to run.
"""

import collections
import hashlib
from collections.abc import Hashable, Iterable, Mapping

# Work allowed for the exact search, in sums looked at. Above it there are so many groups that
# taking them in order comes as close.
_EXACT_SEARCH = 20_000_000


def stable_hash(text: str) -> int:
    """A 64-bit hash that is the same everywhere."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def hold_out(groups: Iterable[str], *, share: float, salt: str) -> frozenset[str]:
    """Choose groups that hold a share of the items, as closely as whole groups can.

    Args:
        groups: The group of each item.
        share: Share of the items to hold out, between 0 and 1.
        salt: Makes the choice another for another data set.

    Returns:
        Names of the groups held out: at least one, and never all.

    Raises:
        ValueError: If there are fewer than two groups.
    """
    sizes = collections.Counter(groups)
    if len(sizes) < 2:
        raise ValueError(
            "Holding items out needs at least two groups, such as two videos. Received: "
            f"{sorted(sizes)}. Add data of another one."
        )
    order = sorted(sizes, key=lambda group: (stable_hash(f"{salt}/{group}"), group))
    target = share * sum(sizes.values())
    chosen = _in_order(order, sizes, round(target))
    if chosen and sum(sizes[group] for group in chosen) == round(target):
        return frozenset(chosen)
    if len(order) * target <= _EXACT_SEARCH:
        chosen = _closest(order, sizes, target)
    return frozenset(chosen or [min(order, key=sizes.__getitem__)])


def _in_order(order: list[str], sizes: Mapping[str, int], target: int) -> list[str]:
    """Take groups in order wherever they still fit."""
    chosen, total = [], 0
    for group in order:
        if total + sizes[group] <= target:
            chosen.append(group)
            total += sizes[group]
    return chosen


def _closest(order: list[str], sizes: Mapping[str, int], target: float) -> list[str]:
    """The groups whose sizes sum closest to a target; of several, those that come early in order.

    Sums are built up group by group (subset sum); each is kept with the first way to reach it.
    """
    whole = sum(sizes.values())
    # Above this, the smallest group alone is closer.
    limit = min(whole - 1, max(2 * target, min(sizes.values())))
    reached: dict[int, tuple[int, Hashable]] = {0: (0, None)}
    for group in order:
        for total in sorted(reached, reverse=True):
            new = total + sizes[group]
            if new <= limit and new not in reached:
                reached[new] = (total, group)
    best = min(
        (total for total in reached if total), key=lambda total: (abs(total - target), total)
    )
    chosen = []
    while best:
        best, group = reached[best]
        chosen.append(group)
    return chosen
