"""The evaluation stage: judge predictions, and set the results beside the published ones."""

from nucleigan.evaluation.columns import (
    MEASURES,
    MODEL,
    NUCLEUS,
    SLIDE,
    gather,
    read_slide_rows,
    write_rows,
)
from nucleigan.evaluation.compare import compare
from nucleigan.evaluation.experiments import compare_experiments
from nucleigan.evaluation.intervals import Interval, interval_of_mean
from nucleigan.evaluation.judge import evaluate_slide, judge_slide
from nucleigan.evaluation.summary import OVERALL, Difference, Summary, differences, summarise

__all__ = [
    "MEASURES",
    "MODEL",
    "NUCLEUS",
    "OVERALL",
    "SLIDE",
    "Difference",
    "Interval",
    "Summary",
    "compare",
    "compare_experiments",
    "differences",
    "evaluate_slide",
    "gather",
    "interval_of_mean",
    "judge_slide",
    "read_slide_rows",
    "summarise",
    "write_rows",
]
