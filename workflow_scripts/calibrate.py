"""Compare the mask probability of one model with the annotations."""

from nucleigan.gpus import use_gpus
from nucleigan.jobs import job

with job(snakemake.log[0]), use_gpus(snakemake.resources.gpu, snakemake.resources.device):
    from nucleigan.config import ComputeSettings
    from nucleigan.evaluation.curves import shown_split
    from nucleigan.segmentation.calibration import calibrate

    shown = shown_split(snakemake.params.splits)

    calibrate(
        model=snakemake.input.model,
        slides=[
            dict(slide=slide, image=image, labels=labels)
            for slide, split, image, labels in zip(
                snakemake.params.slides,
                snakemake.params.splits,
                snakemake.input.images,
                snakemake.input.labels,
                strict=True,
            )
            if split == shown
        ],
        output=snakemake.output.table,
        compute=ComputeSettings(**snakemake.params.compute, device=snakemake.resources.device),
    )
