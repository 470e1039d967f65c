"""Paint images into one shard of polygon maps."""

from nucleigan.gpus import use_gpus
from nucleigan.jobs import job

with job(snakemake.log[0]), use_gpus(snakemake.resources.gpu, snakemake.resources.device):
    from nucleigan.config import ComputeSettings, SynthesisSettings
    from nucleigan.synthesis import synthesize

    start, stop = snakemake.params.bounds
    synthesize(
        generator=snakemake.input.generator,
        polygons=list(snakemake.input.polygons),
        first_map=snakemake.params.first_map,
        start=start,
        stop=stop,
        images_output=snakemake.output.images,
        labels_output=snakemake.output.labels,
        table_output=snakemake.output.table,
        settings=SynthesisSettings(**snakemake.params.settings),
        compute_settings=ComputeSettings(
            **snakemake.params.compute, device=snakemake.resources.device
        ),
        seed=snakemake.params.seed,
    )
