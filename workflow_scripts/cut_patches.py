"""Cut the slides of one split into patches."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.config import PatchSettings
    from nucleigan.patches import cut_patches

    cut_patches(
        [
            dict(slide=slide, organ=organ, image=image, labels=labels)
            for slide, organ, image, labels in zip(
                snakemake.params.slides,
                snakemake.params.organs,
                snakemake.input.images,
                snakemake.input.labels,
                strict=True,
            )
        ],
        images_output=snakemake.output.images,
        labels_output=snakemake.output.labels,
        table_output=snakemake.output.table,
        picture_output=snakemake.output.picture,
        settings=PatchSettings(**snakemake.params.settings),
    )
