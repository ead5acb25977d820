"""Seeds that belong to an item: never to the process, the batch or the rank. It draws no number itself."""

import hashlib


def item_seed(run_seed: int, *parts: str | int) -> int:
    """A seed in [0, 2**63) that depends on the run's seed and the item's name alone.

    `parts` name the item and the use, for example `item_seed(7, "generate", "000042")`: two uses of one item
    draw independent numbers.
    """
    text = "\x1f".join(str(part) for part in (run_seed, *parts))
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
