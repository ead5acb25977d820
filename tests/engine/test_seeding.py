from hypothesis import given
from hypothesis import strategies as st

from clouds.engine.seeding import item_seed
from clouds.engine.shard import digest


@given(st.integers(), st.lists(st.text() | st.integers()))
def test_a_seed_fits_63_bits_and_is_the_same_again(run_seed: int, parts: list[str | int]) -> None:
    seed = item_seed(run_seed, *parts)
    assert 0 <= seed < 2**63
    assert item_seed(run_seed, *parts) == seed


def test_seeds_differ_by_run_use_and_item() -> None:
    seeds = {item_seed(run, use, f"{item:06d}") for run in range(4) for use in ("a", "b") for item in range(1000)}
    assert len(seeds) == 4 * 2 * 1000


def test_parts_do_not_run_into_each_other() -> None:
    assert item_seed(0, "ab", "c") != item_seed(0, "a", "bc")
    assert item_seed(1, 2) != item_seed(12)
    assert digest(["ab", "c"]) != digest(["a", "bc"])


def test_the_seed_of_an_item_is_the_same_number_in_every_process_and_release() -> None:
    assert item_seed(7, "generate", "000042") == 7463917707824689803
