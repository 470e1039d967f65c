"""Set the stain vectors of all slides before and after normalisation beside each other."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.stain.comparison import compare_stains

    compare_stains(
        facts=snakemake.input.facts,
        reference=snakemake.input.reference,
        table_output=snakemake.output.table,
        figure_output=snakemake.output.figure,
    )
