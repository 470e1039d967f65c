"""Fit the polygon sampler to the nuclei of the training slides."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.config import PolygonSettings
    from nucleigan.masks import fit_sampler

    fit_sampler(
        list(snakemake.input.get("labels", [])),
        output=snakemake.output.sampler,
        settings=PolygonSettings(**snakemake.params.settings),
    )
