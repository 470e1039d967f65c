"""Estimate the stains of one slide."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.config import StainSettings
    from nucleigan.stain import profile_slide

    profile_slide(
        snakemake.wildcards.slide,
        image_path=snakemake.input.image,
        output_json=snakemake.output.profile,
        settings=StainSettings(**snakemake.params.settings),
    )
