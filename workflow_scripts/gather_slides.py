"""One table of slides and one of nuclei from those of each slide."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.evaluation import gather

    gather(snakemake.input.measures, snakemake.output.slides)
    gather(snakemake.input.nuclei, snakemake.output.nuclei)
