"""Lists of things and the shards they come in: names and stamps that finished runs have on record."""

from clouds.engine.shard import Item, Listed, Shard, digest, list_name, made_from

# computed by the version in which each stage stamped its own lists
MADE_FROM, INPUTS = "7cb1d8e4ece9bfc7528b6840", "b2c48516c8ebbcfb99b51df6"


def test_a_list_comes_in_shards_whose_items_are_found_again_by_the_shard_alone() -> None:
    listed = Listed(name="night-rain", ids="abc", stamp=lambda index: f"{index} bytes", shard_items=2, of="by me")
    first, last = listed.shards()
    assert first == Shard("night-rain-00000", 2, digest(["by me", "a 0 bytes", "b 1 bytes"]))
    assert last == Shard("night-rain-00001", 1, digest(["by me", "c 2 bytes"]))
    assert listed.items(first) == [Item("a", "by me 0 bytes", 0), Item("b", "by me 1 bytes", 1)]
    assert listed.items(last) == [Item("c", "by me 2 bytes", 2)]
    assert [list_name(shard.id) for shard in (first, last)] == ["night-rain", "night-rain"]


def test_a_list_without_a_name_that_nobody_works_on_is_stamped_by_its_things() -> None:
    listed = Listed(ids="abc", stamp=lambda index: f"{index} bytes", shard_items=2)
    first, last = listed.shards()
    assert (first, last) == (
        Shard("00000", 2, digest(["a 0 bytes", "b 1 bytes"])),
        Shard("00001", 1, digest(["c 2 bytes"])),
    )
    assert listed.items(last) == [Item("c", "c 2 bytes", 2)] and list_name(last.id) == ""
    assert list(Listed(ids="", stamp=str, shard_items=2).shards()) == []


def test_the_stamps_of_finished_runs_are_known_again() -> None:
    assert made_from("stamp", {"type": "folder", "ids": "trainIds"}) == MADE_FROM
    listed = Listed(name="fog", ids=["a", "b"], stamp=str, shard_items=5, of=MADE_FROM)
    assert [shard.inputs for shard in listed.shards()] == [INPUTS]
