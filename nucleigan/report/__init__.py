"""The report's start page: what was run, how good it is, and how to look further."""

from nucleigan.report.start import write_start

__all__ = ["write_start"]
