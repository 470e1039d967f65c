"""Judge one model on one annotated slide."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.evaluation import judge_slide

    model = dict(snakemake.wildcards.items())
    judge_slide(
        slide=dict(
            slide=model.pop("slide"),
            organ=snakemake.params.organ,
            split=snakemake.params.split,
            patient=snakemake.params.patient,
        ),
        model=model,
        truth=snakemake.input.labels,
        prediction=snakemake.input.prediction,
        measures_output=snakemake.output.measures,
        nuclei_output=snakemake.output.nuclei,
        mpp=snakemake.params.mpp,
    )
