"""How numbered units are cut into shards; light enough to be imported by the workflow itself."""

import itertools


def shard_bounds(count: int, shards: int, batch_size: int) -> list[tuple[int, int]]:
    """First and last-plus-one index of every shard, cut between batches.

    Since shards never cut a batch, every image is painted in the same company whatever the number
    of shards, and comes out the same bit for bit.

    >>> shard_bounds(20, 2, 8)
    [(0, 16), (16, 20)]
    """
    batches = -(-count // batch_size)
    shards = min(shards, batches)
    edges = [-(-batches * shard // shards) * batch_size for shard in range(shards + 1)]
    return [(start, min(stop, count)) for start, stop in itertools.pairwise(edges)]


def overlapping(bounds: list[tuple[int, int]], start: int, stop: int) -> list[int]:
    """Numbers of the shards that hold the units from ``start`` to ``stop``.

    >>> overlapping([(0, 4), (4, 8), (8, 12)], 6, 8)
    [1]
    """
    return [shard for shard, (first, end) in enumerate(bounds) if first < stop and start < end]
