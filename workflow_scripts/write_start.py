"""Write the page that the report starts with."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from pathlib import Path

    from nucleigan.report import write_start

    given, runs = snakemake.input, snakemake.params.runs
    judged = zip(
        snakemake.params.judged, given.images, given.labels, given.predictions, strict=True
    )
    compared = {
        name: dict(
            organs=given[f"{name}_organs"],
            differences=given[f"{name}_differences"],
            figures=dict(aji=given[f"{name}_figure"]),
        )
        for name in snakemake.params.comparisons
    }
    if "ablation" in compared:
        compared["ablation"]["figures"]["training_sets"] = given.training_sets
    write_start(
        snakemake.output.page,
        slides=[
            dict(facts=facts, **row)
            for facts, row in zip(given.slides, snakemake.params.slides, strict=True)
        ],
        reference=given.reference,
        settings=snakemake.params.settings,
        models=dict(zip(runs, given.models, strict=True)),
        histories=dict(zip(snakemake.params.trainings, given.histories, strict=True)),
        benchmarks=snakemake.params.benchmarks,
        checkout=Path(__file__).parents[1],
        evaluation=dict(
            organs=given.organs,
            slides=given.slides_table,
            plots={name: given[name] for name in ("aji", "f1", "sizes", "calibration")},
            model=dict(zip(("method", "data", "seed"), runs[0].split("/"), strict=True)),
            tiles=[dict(zip(("slide", "image", "labels", "prediction"), one)) for one in judged],
        )
        if given.get("organs")
        else None,
        synthesis={name: given[name] for name in ("sheet", "quality", "agreement", "painter")}
        if given.get("sheet")
        else None,
        comparisons=compared,
        unjudged=snakemake.params.unjudged,
    )
