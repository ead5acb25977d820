"""How the tensors that were found differ from those that are wanted, in words. It knows names and shapes alone."""

from collections.abc import Mapping, Sequence

_SHOWN = 3

Shapes = Mapping[str, Sequence[int]]


def misfits(wanted: Shapes, found: Shapes) -> str:
    """What is missing, not known and of another shape, by kind and in the order of names; empty where all fits."""
    return told(
        {
            "missing": sorted(wanted.keys() - found.keys()),
            "not known": sorted(found.keys() - wanted.keys()),
            "of another shape": [
                f"{name} {list(found[name])}, not {list(wanted[name])}"
                for name in sorted(wanted.keys() & found.keys())
                if tuple(wanted[name]) != tuple(found[name])
            ],
        }
    )


def told(faults: Mapping[str, Sequence[str]]) -> str:
    """Kinds of faults with the first of their names; a kind without names is left out."""
    return "; ".join(f"{what}: {some(names)}" for what, names in faults.items() if names)


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
