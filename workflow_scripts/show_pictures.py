"""Put pictures of slides beside each other."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.figures.sheets import sheet_of_files

    sheet_of_files(snakemake.input, snakemake.output[0], columns=snakemake.params.columns)
