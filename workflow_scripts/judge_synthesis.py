"""Measure the synthetic pairs against real tissue."""

from nucleigan.gpus import use_gpus
from nucleigan.jobs import job

with job(snakemake.log[0]), use_gpus(snakemake.resources.gpu, snakemake.resources.device):
    from nucleigan.config import ComputeSettings
    from nucleigan.synthesis import judge

    judge(
        images=list(snakemake.input.images),
        labels=list(snakemake.input.labels),
        real_images=list(snakemake.input.real_images),
        real_labels=snakemake.input.real_labels,
        held_out=list(snakemake.input.held_out),
        weights=snakemake.input.generator,
        agreement=snakemake.input.agreement,
        table_output=snakemake.output.table,
        figure_output=snakemake.output.figure,
        compute_settings=ComputeSettings(
            **snakemake.params.compute, device=snakemake.resources.device
        ),
        seed=snakemake.params.seed,
    )
