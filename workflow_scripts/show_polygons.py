"""Show polygon label maps."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.masks import polygon_sheet

    polygon_sheet(list(snakemake.input.labels), snakemake.output.picture)
