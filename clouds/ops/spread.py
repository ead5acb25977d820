"""A few of many, evenly spread. It knows not of what."""


def spread(total: int, count: int) -> list[int]:
    """At most `count` positions in `range(total)`, evenly spread, none at the very ends if there is a choice."""
    if total <= count:
        return list(range(total))
    return [(2 * number + 1) * total // (2 * count) for number in range(count)]
