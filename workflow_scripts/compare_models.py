"""Set all models beside each other and the published ones."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.evaluation import compare

    compare(
        list(snakemake.input.slides),
        long_output=snakemake.output.slides,
        organs_output=snakemake.output.organs,
        table_output=snakemake.output.table,
        latex_output=snakemake.output.latex,
        differences_output=snakemake.output.differences,
        figure_output=snakemake.output.figure,
        phantoms=snakemake.params.phantoms,
    )
