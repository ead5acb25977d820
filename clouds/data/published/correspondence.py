"""Which class of the run a published data set's classes are. It knows no file.

In this order: what the config's `map` says; the class of that very name; what the data set's published correspondence
says, to the class list that is nearest to the run's; a synonym.
"""

from collections.abc import Mapping

from clouds.data.label_maps import CLASS_LISTS
from clouds.data.labels import LabelLookup, LabelMap
from clouds.data.names import name_key
from clouds.data.published.preset import Coding


def lookup_of(
    coding: Coding, label_map: LabelMap, own_map: Mapping[str, str | None], ignore: tuple[int, ...], where: str
) -> LabelLookup:
    """How the stored ids of a coding become the run's; `own_map` and `ignore` are the config's.

    Classes that the correspondence leaves out are ignored; those whose counterpart the run lacks are `unmatched`.
    Raises `UsageError` as `LabelMap.match` does.
    """
    overrides: dict[str, str | None] = dict(_published(coding, label_map))
    for name, target in own_map.items():
        full = [long for long, short in coding.also.items() if name_key(short) == name_key(name)]
        overrides |= dict.fromkeys(full or [_spelled(name, coding)], target)
    return label_map.match(coding.classes, overrides, {*coding.ignore, *ignore}, where)


def _published(coding: Coding, label_map: LabelMap) -> Mapping[str, str | None]:
    """The classes that are settled without a synonym: class -> the run's, or None for none."""
    if not coding.becomes:
        return {}
    nearest = max(coding.becomes, key=lambda names: _shared(names, label_map))
    becomes = coding.becomes[nearest]
    listed = LabelMap.of(nearest)
    settled: dict[str, str | None] = {}
    for name in coding.classes.values():
        own = _own(name, coding, label_map, listed)
        target = becomes.get(name)
        if own is not None:
            settled[name] = own
        elif target is None:
            settled[name] = None
        elif (found := label_map.find(target)) is not None:
            settled[name] = label_map.names[found]
    return settled


def _own(name: str, coding: Coding, label_map: LabelMap, listed: LabelMap) -> str | None:
    """The run's class that a class is by its own name.

    A synonym counts only for a class that the correspondence does not speak of: "sand" is near to "terrain", but the
    published correspondence knows both and keeps them apart.
    """
    for own in (name, coding.also.get(name, name)):
        found = label_map.find(own)
        if found is None:
            continue
        named = label_map.names[found]
        if name_key(named) == name_key(own) or listed.find(named) is None:
            return named
    return None


def _shared(names: str, label_map: LabelMap) -> int:
    """How many of the run's classes have the very names of a built-in list."""
    return len({name_key(name) for name in CLASS_LISTS[names]} & {name_key(name) for name in label_map.names})


def _spelled(name: str, coding: Coding) -> str:
    """A class's name as the coding spells it, so that it replaces what is published of it."""
    return next((own for own in coding.classes.values() if name_key(own) == name_key(name)), name)
