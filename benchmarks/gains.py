"""What synthetic pairs gain, over runs of `ablation` with different annotated slides.

    python benchmarks/gains.py results/one-kidney results/one-liver results/one-breast

reads the `ablation/slides.csv` of each, and writes a Markdown table: a row a run, then all of them
together, as if their repeats were those of one, and a row an organ. Brackets are 95 % intervals
over the judged slides: other slides, but the same annotated ones and the same pairs. The last row's
are over the runs: other annotated slides and pairs, of which a few runs tell little.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from nucleigan.errors import NucleiganError
from nucleigan.evaluation import OVERALL, Difference, Summary, differences, summarise
from nucleigan.evaluation.columns import read_slide_rows
from nucleigan.evaluation.intervals import Interval, interval_of_mean
from nucleigan.evaluation.summary import mean
from nucleigan.evaluation.tables import signed

MEASURES = ("aji", "f1", "dice")


def together(runs: Sequence[Sequence[Mapping[str, str]]]) -> list[dict[str, str]]:
    """The rows of all runs; a seed of one is not the same repeat as that of another."""
    return [
        {**row, "seed": f"{number}-{row['seed']}"}
        for number, rows in enumerate(runs)
        for row in rows
    ]


def gains(rows: Sequence[Mapping[str, str]]) -> tuple[Summary, dict[str, list[Difference]]]:
    """The models of real patches alone, and by organ how much better those of both are."""
    models = {model.data: model for model in summarise(rows)}
    real, both = models["real"], models["both"]
    found: dict[str, list[Difference]] = {}
    for measure in MEASURES:
        for gain in differences(both, real, measure):
            found.setdefault(gain.organ, []).append(gain)
    return real, found


def over_runs(runs: Sequence[Sequence[Difference]]) -> list[tuple[float, Interval]]:
    """The mean of the runs' overall gains in each measure, and its interval over other runs."""
    by_measure = [[gain.difference for gain in gains] for gains in zip(*runs, strict=True)]
    return [(mean(values), interval_of_mean({OVERALL: values})) for values in by_measure]


def _row(name: str, real: Summary, found: dict[str, list[Difference]], organ: str) -> str:
    mean, deviation = real.organs[organ]["aji"]
    shown = (f"{gain.difference:+.3f} {signed(gain.interval)}" for gain in found[organ])
    return " | ".join([f"| {name}", f"{mean:.3f} ± {deviation:.3f}", *shown]) + " |"


def main() -> None:
    """Read, compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+", help="folders of finished runs")
    options = parser.parse_args()
    try:
        runs = [read_slide_rows(folder / "ablation" / "slides.csv") for folder in options.results]
    except NucleiganError as error:
        raise SystemExit(str(error)) from error
    for folder, rows in zip(options.results, runs, strict=True):
        missing = {"real", "both"} - {row["data"] for row in rows}
        if missing:
            raise SystemExit(
                f"{folder}/ablation/slides.csv has no training set "
                f"{' and '.join(sorted(missing))}; name real and both in "
                "ablation.data, and run the target ablation again."
            )
    print("| run | AJI, real | gain in AJI | in F1 | in Dice |")
    print("|---|---:|---:|---:|---:|")
    each = [gains(rows) for rows in runs]
    for folder, (real, found) in zip(options.results, each, strict=True):
        print(_row(str(folder), real, found, OVERALL))
    real, found = gains(together(runs))
    for organ in found:
        print(_row("**all**" if organ == OVERALL else organ, real, found, organ))
    if len(runs) > 1:
        cells = [
            f"{gain:+.3f} {signed(interval)}"
            for gain, interval in over_runs([found[OVERALL] for _, found in each])
        ]
        print(f"| **all, over runs** | | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
