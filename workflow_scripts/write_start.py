"""Write the page that the report starts with."""

from nucleigan.jobs import job

PLOTS = (
    "AJI by organ: bars are means, dots single slides, markers published figures, whose overall "
    "mean is that of all nine organs here.",
    "F1 over the IoU that a match must exceed: how exact the outlines are.",
    "Part of the true nuclei found, by size: small ones are the hard ones. Lines: 95 % intervals.",
    "Calibration: of pixels with this predicted probability, the part that is nucleus.",
)
TRAINING_SETS = (
    "AJI by training set, over all and organ by organ: dots are means, ± over seeds, lines 95 % "
    "intervals over slides."
)

with job(snakemake.log[0]):
    from pathlib import Path

    from nucleigan.report import write_start

    given, runs = snakemake.input, snakemake.params.runs
    judged = zip(
        snakemake.params.judged, given.images, given.labels, given.predictions, strict=True
    )
    compared = {
        name: dict(organs=organs, differences=differences, figures={PLOTS[0]: figure})
        for name, organs, differences, figure in zip(
            snakemake.params.comparisons, *(given.comparisons[i::3] for i in range(3)), strict=True
        )
    }
    if "ablation" in compared:
        compared["ablation"]["figures"][TRAINING_SETS] = given.training_sets
    write_start(
        snakemake.output.page,
        slides=given.slides,
        reference=given.reference,
        settings=snakemake.params.settings,
        models=dict(zip(runs, given.models, strict=True)),
        histories=dict(zip(snakemake.params.trainings, given.histories, strict=True)),
        benchmarks=snakemake.params.benchmarks,
        checkout=Path(__file__).parents[1],
        evaluation=dict(
            organs=given.tables[0],
            slides=given.tables[1],
            plots=dict(zip(PLOTS, given.plots, strict=True)),
            model=dict(zip(("method", "data", "seed"), runs[0].split("/"), strict=True)),
            tiles=[dict(zip(("slide", "image", "labels", "prediction"), one)) for one in judged],
        )
        if given.tables
        else None,
        synthesis=dict(
            zip(("sheet", "quality", "agreement", "painter"), given.synthesis, strict=True)
        )
        if given.synthesis
        else None,
        comparisons=compared,
        unjudged=snakemake.params.unjudged,
    )
