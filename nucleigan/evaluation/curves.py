"""Curves of the evaluation: F1 over IoU thresholds, detection over the size of nuclei."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nucleigan.artifacts import read_table, write_table
from nucleigan.errors import NucleiganError
from nucleigan.evaluation.columns import MODEL, NAMES_ARE_TEXT, patient_of
from nucleigan.evaluation.intervals import BETWEEN_0_AND_1, interval_of_mean
from nucleigan.evaluation.summary import mean
from nucleigan.metrics.objects import THRESHOLDS
from nucleigan.organs import organ_name
from nucleigan.splits import shown_split

# Groups of nuclei by size, each with as many nuclei.
SIZES = 8
GROUP = ["method", "data"]


def draw_curves(
    slides_table: str | Path,
    nuclei_tables: Sequence[str | Path],
    mpp: float,
    f1_output: str | Path,
    sizes_output: str | Path,
    f1_figure: str | Path,
    sizes_figure: str | Path,
) -> None:
    """Write both curves of all models, as tables and as figures.

    Parameters
    ----------
    slides_table
        CSV of all models' slides, of :func:`nucleigan.evaluation.compare`.
    nuclei_tables
        CSV files of all models' nuclei, of :func:`nucleigan.evaluation.judge_slide`.
    mpp
        µm per pixel of the slides.
    f1_output, f1_figure
        CSV and PNG of :func:`f1_over_thresholds`.
    sizes_output, sizes_figure
        CSV and PNG of :func:`detection_by_size`.

    Raises
    ------
    NucleiganError
        When the table holds no slide.
    """
    slides = read_table(slides_table, **NAMES_ARE_TEXT)
    if slides.empty:
        raise NucleiganError(
            f"{slides_table}: holds no slide; expected at least one annotated slide; annotate one "
            "of evaluation.splits in the sample sheet."
        )
    nuclei = pd.concat(
        [read_table(path, **NAMES_ARE_TEXT) for path in nuclei_tables], ignore_index=True
    )
    split = shown_split(slides["split"])
    slides, nuclei = (table[table["split"] == split] for table in (slides, nuclei))
    f1, sizes = f1_over_thresholds(slides, nuclei), detection_by_size(nuclei, mpp)
    for table, output in ((f1, f1_output), (sizes, sizes_output)):
        write_table(output, table)

    from nucleigan.figures import curves

    curves.f1_over_thresholds(_by_model(f1), split, f1_figure)
    curves.detection_by_size(_by_model(sizes), split, sizes_figure)


def _by_model(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {", ".join(map(str, key)): rows for key, rows in table.groupby(GROUP, sort=False)}


def f1_over_thresholds(slides: pd.DataFrame, nuclei: pd.DataFrame) -> pd.DataFrame:
    """F1 of nuclei matched at rising IoU.

    Parameters
    ----------
    slides
        Rows of the table of slides.
    nuclei
        Rows of the tables of nuclei of the same slides. Above 0.5 a nucleus has at most one partner
        (Kirillov et al. 2019), so its best IoU says whether it is matched.

    Returns
    -------
    Columns ``method``, ``data``, ``threshold`` and ``f1``: mean of slides, of organs, of seeds.
    """
    names = [*MODEL, "slide"]
    slides = slides.assign(organ=slides["organ"].map(organ_name))
    found = []
    for threshold in THRESHOLDS:
        matched = nuclei["best_iou"].gt(threshold).groupby([nuclei[n] for n in names]).sum()
        count = slides.join(matched.rename("count"), on=names)["count"].fillna(0)
        total = slides["true_nuclei"] + slides["predicted_nuclei"]
        # Nothing to find and nothing found is right.
        f1 = (2 * count / total.where(total > 0)).fillna(1.0)
        found.append(_mean_of_organs(slides.assign(f1=f1)).assign(threshold=threshold))
    return pd.concat(found, ignore_index=True)[[*GROUP, "threshold", "f1"]]


def _mean_of_organs(slides: pd.DataFrame) -> pd.DataFrame:
    organs = slides.groupby([*MODEL, "organ"], sort=False)["f1"].mean()
    seeds = organs.groupby(list(MODEL), sort=False).mean()
    return seeds.groupby(GROUP, sort=False).mean().reset_index()


def detection_by_size(nuclei: pd.DataFrame, mpp: float) -> pd.DataFrame:
    """Part of the true nuclei that are matched at IoU above 0.5, by their size.

    Parameters
    ----------
    nuclei
        Rows of the tables of nuclei.
    mpp
        µm per pixel.

    Returns
    -------
    Columns ``method``, ``data``; ``low``, ``high`` and ``diameter``, the bounds and the median of
    the diameters of discs of the nuclei's areas (µm); ``nuclei``, their number; ``rate``, mean of
    slides, then of organs, and its 95 % interval over patients, ``rate_low`` and ``rate_high`` (NaN
    where no organ has two).
    """
    columns = [*GROUP, "low", "high", "diameter", "nuclei", "rate", "rate_low", "rate_high"]
    if nuclei.empty:
        return pd.DataFrame(columns=columns)
    diameter = 2 * np.sqrt(nuclei["area"] / np.pi) * mpp
    edges = np.unique(np.quantile(diameter, np.linspace(0, 1, SIZES + 1)))
    # The smallest belongs to the first group, and a single size is a group, too.
    group = np.clip(np.searchsorted(edges, diameter) - 1, 0, max(len(edges) - 2, 0))
    nuclei = nuclei.assign(diameter=diameter, group=group, organ=nuclei["organ"].map(organ_name))
    rows = []
    for (method, data), of_model in nuclei.groupby(GROUP, sort=False):
        for place in range(max(len(edges) - 1, 1)):
            chosen = of_model[of_model["group"] == place]
            # Of few sizes, bounds lie between two of them, with nothing in the group.
            if len(chosen):
                ends = edges[place], edges[min(place + 1, len(edges) - 1)]
                rows.append([method, data, *ends, *_group_of_size(chosen)])
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values([*GROUP, "low"], kind="stable").reset_index(drop=True)


def _group_of_size(nuclei: pd.DataFrame) -> list[float]:
    """Median diameter, number, and rate with its interval."""
    of_seed = nuclei[nuclei["seed"] == nuclei["seed"].iloc[0]]
    names = ["organ", "slide", "patient"]
    rates = nuclei.groupby(names, sort=False)["matched"].mean().reset_index()
    by_organ, patients = {}, {}
    for organ, rows in rates.groupby("organ", sort=False):
        by_organ[str(organ)] = rows["matched"].tolist()
        patients[str(organ)] = list(map(patient_of, rows["slide"], rows["patient"]))
    interval = interval_of_mean(by_organ, patients, bounds=BETWEEN_0_AND_1)
    diameter = float(of_seed["diameter"].median())
    return [diameter, len(of_seed), mean(map(mean, by_organ.values())), *interval]
