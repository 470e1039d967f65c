"""What synthetic pairs gain, over runs of `ablation` with different annotated slides.

    python benchmarks/gains.py results/one-kidney results/one-liver results/one-breast

reads the `ablation/slides.csv` of each, of test slides if there are any, and writes a Markdown
table: a row a run, then all of them together, as if their repeats were those of one, and a row an
organ. Brackets are 95 % intervals over the judged slides or patients: others, but the same
annotated ones and the same pairs. The last row's are over the runs: other annotated slides and
pairs, of which a few runs tell little.

    python benchmarks/gains.py results/training-sets --data real-1 both-1 --seeds-apart

takes each seed of a run, which has annotated slides of its own there, for a run.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from nucleigan.errors import NucleiganError
from nucleigan.evaluation import OVERALL, Difference, Summary, differences, summarise
from nucleigan.evaluation.columns import read_slide_rows
from nucleigan.evaluation.intervals import Interval, interval_of_mean
from nucleigan.evaluation.summary import mean
from nucleigan.evaluation.tables import signed
from nucleigan.splits import shown_split

MEASURES = ("aji", "f1", "dice")


def together(runs: Sequence[Sequence[Mapping[str, str]]]) -> list[dict[str, str]]:
    """The rows of all runs; a seed of one is not the same repeat as that of another."""
    return [
        {**row, "seed": f"{number}-{row['seed']}"}
        for number, rows in enumerate(runs)
        for row in rows
    ]


def apart(rows: Sequence[Mapping[str, str]]) -> dict[str, list[Mapping[str, str]]]:
    """The rows of each seed."""
    found: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        found.setdefault(row["seed"], []).append(row)
    return found


def gains(
    rows: Sequence[Mapping[str, str]], data: tuple[str, str] = ("real", "both")
) -> tuple[Summary, dict[str, list[Difference]]]:
    """The models of the first training set, and by organ how much better those of the other are."""
    split = shown_split(row["split"] for row in rows)
    shown = [row for row in rows if row["split"] == split]
    models = {model.data: model for model in summarise(shown)}
    real, both = (models[name] for name in data)
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
    spread = "" if math.isnan(deviation) else f" ± {deviation:.3f}"
    return " | ".join([f"| {name}", f"{mean:.3f}{spread}", *shown]) + " |"


def main() -> None:
    """Read, compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+", help="folders of finished runs")
    parser.add_argument(
        "--data", nargs=2, default=("real", "both"), help="training sets, the poorer one first"
    )
    parser.add_argument("--seeds-apart", action="store_true", help="take each seed for a run")
    options = parser.parse_args()
    data = (options.data[0], options.data[1])
    try:
        runs = [read_slide_rows(folder / "ablation" / "slides.csv") for folder in options.results]
    except NucleiganError as error:
        raise SystemExit(str(error)) from error
    for folder, rows in zip(options.results, runs, strict=True):
        missing = {*data} - {row["data"] for row in rows}
        if missing:
            raise SystemExit(
                f"{folder}/ablation/slides.csv has no training set "
                f"{' and '.join(sorted(missing))}; name {' and '.join(data)} in "
                "ablation.data, and run the target ablation again."
            )
    named = dict(zip(map(str, options.results), runs, strict=True))
    if options.seeds_apart:
        named = {
            f"{name}, seed {seed}": theirs
            for name, rows in named.items()
            for seed, theirs in apart(rows).items()
        }
    print(f"| run | AJI, {data[0]} | gain in AJI | in F1 | in Dice |")
    print("|---|---:|---:|---:|---:|")
    each = {name: gains(rows, data) for name, rows in named.items()}
    for name, (real, found) in each.items():
        print(_row(name, real, found, OVERALL))
    real, found = gains(together(list(named.values())), data)
    for organ in found:
        print(_row("**all**" if organ == OVERALL else organ, real, found, organ))
    if len(each) > 1:
        cells = [
            f"{gain:+.3f} {signed(interval)}"
            for gain, interval in over_runs([found[OVERALL] for _, found in each.values()])
        ]
        print(f"| **all, over runs** | | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
