"""Choose the slide whose stains all others get."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.config import StainSettings
    from nucleigan.stain import choose_reference

    choose_reference(
        snakemake.input.profiles,
        output_json=snakemake.output.reference,
        settings=StainSettings(**snakemake.params.settings),
    )
