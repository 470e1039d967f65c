"""Synthetic pairs: images painted into polygon label maps."""

from nucleigan.synthesis.pairs import synthesize
from nucleigan.synthesis.shards import shard_bounds
from nucleigan.synthesis.sheet import sheet

__all__ = ["shard_bounds", "sheet", "synthesize"]
