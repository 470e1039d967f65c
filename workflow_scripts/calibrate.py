"""Compare the mask probability of one model with the annotations."""

from nucleigan.gpus import use_gpus
from nucleigan.jobs import job

with job(snakemake.log[0]), use_gpus(snakemake.resources.gpu, snakemake.resources.device):
    from nucleigan.config import ComputeSettings
    from nucleigan.segmentation.calibration import calibrate

    calibrate(
        model=snakemake.input.model,
        slides=[
            dict(slide=slide, image=image, labels=labels)
            for slide, image, labels in zip(
                snakemake.params.slides,
                snakemake.input.images,
                snakemake.input.labels,
                strict=True,
            )
        ],
        output=snakemake.output.table,
        compute=ComputeSettings(**snakemake.params.compute, device=snakemake.resources.device),
    )
