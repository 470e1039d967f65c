"""Show synthetic pairs beside real patches."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.synthesis import sheet

    sheet(
        list(snakemake.input.images),
        list(snakemake.input.labels),
        real_images=snakemake.input.real,
        output=snakemake.output.picture,
    )
