"""Draw one shard of polygon label maps."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.masks import write_polygons

    start, stop = snakemake.params.bounds
    write_polygons(
        snakemake.output.labels,
        start=start,
        stop=stop,
        seed=snakemake.params.seed,
        size=snakemake.params.size,
        settings=snakemake.input.sampler,
    )
