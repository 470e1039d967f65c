"""Cut a training slide whose annotation is missing, or not used, into patches."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.config import PatchSettings
    from nucleigan.patches import cut_unannotated

    cut_unannotated(
        dict(
            slide=snakemake.wildcards.slide,
            organ=snakemake.params.organ,
            image=snakemake.input.image,
        ),
        images_output=snakemake.output.images,
        table_output=snakemake.output.table,
        picture_output=snakemake.output.picture,
        settings=PatchSettings(**snakemake.params.settings),
        seed=snakemake.params.seed,
    )
