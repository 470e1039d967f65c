"""Segment one slide with one model."""

from nucleigan.gpus import use_gpus
from nucleigan.jobs import job

with job(snakemake.log[0]), use_gpus(snakemake.resources.gpu, snakemake.resources.device):
    from nucleigan.config import ComputeSettings, IngestionSettings
    from nucleigan.segmentation import segment_slide

    segment_slide(
        model=snakemake.input.model,
        image=snakemake.input.image,
        facts=snakemake.input.facts,
        truth=next(iter(snakemake.input.labels), None),
        labels_output=snakemake.output.labels,
        geojson_output=snakemake.output.geojson,
        picture_output=snakemake.output.picture,
        compute=ComputeSettings(
            **snakemake.params.compute,
            device=snakemake.resources.device,
            threads=snakemake.threads,
        ),
        # A limit is no param: a higher one is no reason to segment others again.
        limits=IngestionSettings(**(snakemake.config.get("ingestion") or {})),
    )
