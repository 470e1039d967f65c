"""Give one slide the stains of the reference."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.config import StainSettings
    from nucleigan.stain import normalize_slide

    normalize_slide(
        snakemake.wildcards.slide,
        image_path=snakemake.input.image,
        profile_json=snakemake.input.profile,
        reference_json=snakemake.input.reference,
        image_output=snakemake.output.image,
        facts_output=snakemake.output.facts,
        picture_output=snakemake.output.picture,
        settings=StainSettings(**snakemake.params.settings),
        mpp=snakemake.params.mpp,
    )
