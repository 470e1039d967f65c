"""Compare synthetic images with their masks, through a segmenter of real slides."""

from nucleigan.gpus import use_gpus
from nucleigan.jobs import job

with job(snakemake.log[0]), use_gpus(snakemake.resources.gpu, snakemake.resources.device):
    from nucleigan.config import ComputeSettings
    from nucleigan.synthesis.agreement import judge_agreement

    judge_agreement(
        model=snakemake.input.judge,
        images=[snakemake.input.images],
        labels=[snakemake.input.labels],
        start=snakemake.params.start,
        output=snakemake.output.table,
        compute=ComputeSettings(**snakemake.params.compute, device=snakemake.resources.device),
    )
