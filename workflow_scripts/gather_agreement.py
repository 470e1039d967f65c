"""Put the agreement of all shards into one table."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.evaluation import gather

    gather(list(snakemake.input), snakemake.output[0])
