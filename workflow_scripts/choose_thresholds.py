"""Choose a segmenter's thresholds and write its model file."""

from nucleigan.gpus import use_gpus
from nucleigan.jobs import job

with job(snakemake.log[0]), use_gpus(snakemake.resources.gpu, snakemake.resources.device):
    from nucleigan.config import ComputeSettings, PredictionSettings
    from nucleigan.segmentation import choose_thresholds

    choose_thresholds(
        weights=snakemake.input.weights,
        slides=[
            dict(slide=slide, image=image, labels=labels)
            for slide, image, labels in zip(
                snakemake.params.slides,
                snakemake.input.get("images", []),
                snakemake.input.get("labels", []),
                strict=True,
            )
        ],
        model_output=snakemake.output.model,
        table_output=snakemake.output.table,
        settings=PredictionSettings(**snakemake.params.settings),
        compute=ComputeSettings(**snakemake.params.compute, device=snakemake.resources.device),
        data_licence=snakemake.params.data_licence,
    )
