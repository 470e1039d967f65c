"""Synthetic pairs: images painted into polygon label maps, and how good they are."""

from nucleigan.synthesis.pairs import synthesize
from nucleigan.synthesis.quality import judge
from nucleigan.synthesis.sheet import sheet

__all__ = ["judge", "sheet", "synthesize"]
