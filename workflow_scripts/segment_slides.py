"""Segment slides with one model."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.config import ComputeSettings
    from nucleigan.segmentation import segment_slides

    truth = iter(snakemake.input.get("labels", []))
    segment_slides(
        model=snakemake.input.model,
        slides=[
            dict(slide=slide, image=image, labels=next(truth) if annotated else None)
            for slide, image, annotated in zip(
                snakemake.params.slides,
                snakemake.input.images,
                snakemake.params.annotated,
                strict=True,
            )
        ],
        outputs=[
            dict(labels=labels, geojson=geojson, picture=picture)
            for labels, geojson, picture in zip(
                snakemake.output.labels,
                snakemake.output.geojson,
                snakemake.output.pictures,
                strict=True,
            )
        ],
        compute=ComputeSettings(**snakemake.params.compute, device=snakemake.resources.device),
    )
