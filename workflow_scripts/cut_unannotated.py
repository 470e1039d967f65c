"""Cut the training slides without annotation into patches."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.config import PatchSettings
    from nucleigan.patches import cut_unannotated

    cut_unannotated(
        [
            dict(slide=slide, organ=organ, image=image)
            for slide, organ, image in zip(
                snakemake.params.slides,
                snakemake.params.organs,
                snakemake.input.images,
                strict=True,
            )
        ],
        images_output=snakemake.output.images,
        table_output=snakemake.output.table,
        picture_output=snakemake.output.picture,
        settings=PatchSettings(**snakemake.params.settings),
        seed=snakemake.params.seed,
    )
