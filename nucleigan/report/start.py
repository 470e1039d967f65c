"""The start page of the report, from the files that the stages left."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from PIL import Image

from nucleigan.artifacts import atomic, file_digest, read_json, read_table
from nucleigan.config import Config
from nucleigan.evaluation.compare import not_judged
from nucleigan.models.header import stored_facts
from nucleigan.organs import organ_name
from nucleigan.plan import read_plan
from nucleigan.report import page
from nucleigan.report.results import comparison, results
from nucleigan.report.run import commit, costs, versions
from nucleigan.report.tiles import tiles

SPLITS = ("train", "val", "test")
# A contact sheet in the page, pixels.
SHEET_SIDE = 1200
# What a reader asks for first: where in the configuration, what it is called, its unit.
MATTERS = (
    ("ingestion.mpp", "magnification", "µm per pixel"),
    ("stain.normalize", "stain normalisation", ""),
    ("patches.size", "patch", "pixels"),
    ("patches.stride", "distance of patches", "pixels"),
    ("masks.encoding", "mask encoding", ""),
    ("cyclegan.epochs", "CycleGAN, epochs", ""),
    ("cyclegan.steps_per_epoch", "CycleGAN, steps an epoch", ""),
    ("synthesis.count", "synthetic pairs", ""),
    ("segmentation.model", "model that was applied as it is", ""),
    ("segmentation.methods", "methods", ""),
    ("segmentation.data", "training sets", ""),
    ("segmentation.seeds", "seeds of the training", ""),
    ("segmentation.epochs", "segmentation, epochs", ""),
    ("segmentation.steps_per_epoch", "segmentation, steps an epoch", ""),
    ("segmentation.batch_size", "segmentation, pairs a step", ""),
    ("segmentation.synthetic_share", "share of synthetic pairs", ""),
    ("segmentation.generator.kind", "network", ""),
    ("segmentation.generator.width", "network, width", "channels"),
    ("baselines.generator.kind", "network of unet and dist", ""),
    ("prediction.views", "views averaged", ""),
    ("compute.precision", "precision", ""),
)


def write_start(
    output: str | Path,
    slides: Sequence[Mapping[str, str]],
    reference: str | Path,
    settings: Mapping[str, Any],
    models: Mapping[str, str | Path],
    histories: Mapping[str, str | Path],
    benchmarks: str | Path,
    checkout: str | Path,
    evaluation: Mapping[str, Any] | None = None,
    synthesis: Mapping[str, str | Path] | None = None,
    comparisons: Mapping[str, Mapping[str, Any]] | None = None,
    unjudged: Sequence[str] = (),
) -> None:
    """Write the page; what the run did not make is left out.

    Parameters
    ----------
    output
        HTML, with all pictures inside.
    slides
        Dictionaries with ``facts`` (the slide's ``slide.json``), ``organ`` and ``split``.
    reference
        JSON of the stain reference.
    settings
        The configuration as plain values; sections that the run does not use may lack.
    models
        Name to model file.
    histories
        Name of a training to the PNG of its losses.
    benchmarks
        Folder of Snakemake's benchmark files; those of the plan beside it count, where it has one.
    checkout
        Folder of the workflow's code, for its commit.
    evaluation
        None without annotated slides, else ``organs`` and ``slides`` (CSV of all models), ``plots``
        (of :data:`nucleigan.report.results.CAPTIONS`, the name to the PNG), ``model`` (``method``,
        ``data``, ``seed`` of the one whose slides are shown) and ``tiles`` (dictionaries with
        ``slide``, ``image``, ``labels`` and ``prediction``).
    synthesis
        None without synthetic pairs, else ``sheet`` (PNG), ``quality`` and ``agreement`` (CSV), and
        ``painter`` (weights of the generator).
    comparisons
        Target of further models to its ``organs`` and ``differences`` (CSV) and ``figures``
        (as ``plots``).
    unjudged
        Slides that were segmented and have no annotation to be judged by.
    """
    facts = [{**read_json(slide["facts"]), **slide} for slide in slides]
    phantoms = settings.get("slides") == "phantoms"
    body = [
        _data(facts, read_json(reference), settings, phantoms),
        _results(evaluation, phantoms, unjudged),
        *(
            comparison(name, files["organs"], files["differences"], files["figures"])
            for name, files in (comparisons or {}).items()
        ),
        _tiles(evaluation),
        _synthesis(synthesis, settings),
        page.section(
            "Training curves",
            *(
                page.plot(path, f"{name}: losses as weighted in the objective, and the rate.")
                for name, path in histories.items()
            ),
        )
        if histories
        else "",
        _cost(benchmarks),
        _provenance(facts, settings, models, checkout),
    ]
    with atomic(output) as temporary:
        temporary.write_text(page.page("nucleigan: what this run found", body), encoding="utf-8")


def _data(
    facts: Sequence[Mapping[str, Any]],
    reference: Mapping[str, Any],
    settings: Mapping[str, Any],
    phantoms: bool,
) -> str:
    # As tables name them.
    facts = [{**fact, "organ": organ_name(str(fact["organ"]))} for fact in facts]
    organs = list(dict.fromkeys(fact["organ"] for fact in facts))
    count = pd.Series([(fact["organ"], fact["split"]) for fact in facts]).value_counts()
    normalized = _at(settings, "stain.normalize") is not False
    stains = (
        f"Stain reference: {reference['slide']}" if normalized else "Stains are left as they are"
    )
    rows: list[list[object]] = [
        [organ, *(count.get((organ, split), 0) for split in SPLITS), _nuclei(facts, organ)]
        for organ in organs
    ]
    totals = [sum(fact["split"] == split for fact in facts) for split in SPLITS]
    rows.append(["all", *totals, sum(fact.get("nuclei") or 0 for fact in facts)])
    drawn = ", drawn by the package" if phantoms else ""
    warned = [f"{fact['slide']}: {text}" for fact in facts for text in fact.get("warnings", ())]
    chosen = [
        [title, f"{_value(value)} {unit}".strip()]
        for key, title, unit in MATTERS
        if (value := _at(settings, key)) not in (None, "")
    ]
    return page.section(
        "What was run, on which data",
        page.paragraph(f"{len(facts)} slides of {len(organs)} organs{drawn}. {stains}."),
        page.grid(
            page.table(["organ", *SPLITS, "annotated nuclei"], rows, name="data", overall=1),
            page.table(["setting that matters", "value"], chosen, name="settings", kind="text"),
        ),
        page.details(
            f"{len(warned)} warnings about slides", *(page.paragraph(text) for text in warned)
        )
        if warned
        else "",
    )


def _nuclei(facts: Sequence[Mapping[str, Any]], organ: str) -> int:
    return sum(fact.get("nuclei") or 0 for fact in facts if fact["organ"] == organ)


def _at(settings: Mapping[str, Any], key: str) -> Any:
    """A value by its dotted key; None where the configuration lacks it."""
    value: Any = settings
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)


def _results(evaluation: Mapping[str, Any] | None, phantoms: bool, unjudged: Sequence[str]) -> str:
    if evaluation is None:
        return page.section(
            "How good, and against whom",
            page.paragraph(
                "None of the slides of evaluation.splits is annotated, so nothing was judged."
            ),
        )
    remark = not_judged(unjudged) if unjudged else ""
    return results(evaluation["organs"], evaluation["plots"], phantoms, remark)


def _tiles(evaluation: Mapping[str, Any] | None) -> str:
    if evaluation is None:
        return ""
    return tiles(evaluation["slides"], evaluation["model"], evaluation["tiles"])


def _synthesis(synthesis: Mapping[str, str | Path] | None, settings: Mapping[str, Any]) -> str:
    if synthesis is None:
        return ""
    agreement = read_table(synthesis["agreement"])["aji"]
    minimum = _at(settings, "segmentation.minimum_agreement") or 0.0
    left_out = int((agreement < minimum).sum())
    quality = read_table(synthesis["quality"])
    doubts = stored_facts(synthesis["painter"])["training"].get("doubts", ())
    rows = [
        [row.measure, _short(row.synthetic), _short(row.reference), row.meaning]
        for row in quality.itertuples(index=False)
    ]
    with Image.open(synthesis["sheet"]) as sheet:
        picture = page.photograph(
            sheet,
            "Above: synthetic images; middle: the same with their polygons; below: real patches.",
            SHEET_SIDE,
        )
    return page.section(
        "Synthetic images beside real ones",
        picture,
        *(page.paragraph(f"Doubtful: {doubt}.", "warning") for doubt in doubts),
        page.paragraph(
            f"{left_out} of {len(agreement)} pairs were left out of the trainings: the judge finds "
            f"their masks with an AJI below {minimum:g} (segmentation.minimum_agreement)."
            if minimum > 0
            else f"All {len(agreement)} pairs took part in the trainings, however well the judge "
            "finds their masks (segmentation.minimum_agreement is 0)."
        ),
        page.table(["measure", "synthetic", "real", "meaning"], rows, "synthesis", kind="text"),
        page.paragraph(
            "Features come from a fixed random network: the figures compare runs of this workflow "
            "alone.",
            "note",
        ),
    )


def _short(value: Any) -> str:
    return "–" if pd.isna(value) else f"{value:.3g}"


def _cost(benchmarks: str | Path) -> str:
    plan = read_plan(Path(benchmarks).parent)
    names = None if plan is None else plan.names | plan.finished
    rows = [
        [
            cost.stage,
            cost.jobs,
            _clock(cost.seconds),
            _clock(cost.longest),
            "–" if pd.isna(cost.memory) else f"{cost.memory:,.0f}",
        ]
        for cost in costs(benchmarks, names)
    ]
    header = ["stage", "jobs", "time of all jobs", "longest job", "peak memory of a job, MB"]
    return page.section(
        "Time and memory",
        page.table(header, rows, name="cost") if rows else "",
        page.paragraph("Times as h:mm:ss; jobs may have run side by side.", "note") if rows else "",
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _provenance(
    facts: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    models: Mapping[str, str | Path],
    checkout: str | Path,
) -> str:
    found = {"seed": settings.get("seed"), "commit": commit(checkout), **versions()}
    hashes = [[f"model {name}", file_digest(path)] for name, path in models.items()]
    hashes += [[f"slide {fact['slide']}", fact.get("sha256") or "–"] for fact in facts]
    changed = _changes(settings, Config().model_dump(mode="json"))
    return page.section(
        "Settings, versions, hashes, seeds",
        page.table(
            ["what", "value"],
            [[k, v] for k, v in found.items() if v not in (None, "")],
            "versions",
            kind="text",
        ),
        page.details(
            f"{len(changed)} settings that differ from config.yaml",
            page.table(["setting", "here", "config.yaml"], changed, "changes", kind="text"),
        ),
        page.details(
            "All settings",
            "<pre>"
            + page.escape(yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True))
            + "</pre>",
        ),
        page.details("SHA-256", page.table(["file", "hash"], hashes, "hashes", kind="text hash")),
    )


def _changes(values: Mapping[str, Any], defaults: Mapping[str, Any], at: str = "") -> list[Any]:
    """Dotted key, value and default of everything that is not as by default."""
    rows: list[Any] = []
    for key, value in values.items():
        default = defaults.get(key)
        if isinstance(value, Mapping):
            rows += _changes(value, default or {}, f"{at}{key}.")
        elif value != default:
            rows.append([at + key, _value(value), _value(default)])
    return rows
