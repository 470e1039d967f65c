"""Judge one model on the annotated slides."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.evaluation import evaluate_model

    evaluate_model(
        [
            dict(slide=slide, organ=organ, split=split, labels=labels, prediction=prediction)
            for slide, organ, split, labels, prediction in zip(
                snakemake.params.slides,
                snakemake.params.organs,
                snakemake.params.splits,
                snakemake.input.labels,
                snakemake.input.predictions,
                strict=True,
            )
        ],
        model=dict(snakemake.wildcards.items()),
        slides_output=snakemake.output.slides,
        nuclei_output=snakemake.output.nuclei,
    )
