"""Set all models beside each other and the published ones."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from pathlib import Path

    from nucleigan.evaluation import compare

    compare(
        list(snakemake.input.slides),
        # All outputs lie there under their names.
        Path(snakemake.output.slides).parent,
        phantoms=snakemake.params.phantoms,
        unjudged=snakemake.params.unjudged,
    )
