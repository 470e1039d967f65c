"""Train the CycleGAN between polygon masks and H&E images."""

from nucleigan.gpus import use_gpus
from nucleigan.jobs import job

with job(snakemake.log[0]), use_gpus(snakemake.resources.gpu, snakemake.resources.device):
    from nucleigan.config import ComputeSettings, CycleGANSettings, MaskSettings
    from nucleigan.models.cyclegan import train
    from nucleigan.training.processes import spread

    spread(snakemake.params.compute["processes"], snakemake.resources.device)
    train(
        images=list(snakemake.input.images),
        labels=list(snakemake.input.get("labels", [])),
        polygons=list(snakemake.input.polygons),
        generator_output=snakemake.output.generator,
        history_output=snakemake.output.history,
        samples_output=snakemake.output.samples,
        checkpoint=snakemake.params.checkpoint,
        settings=CycleGANSettings(**snakemake.params.settings),
        mask_settings=MaskSettings(**snakemake.params.masks),
        compute_settings=ComputeSettings(
            **snakemake.params.compute,
            device=snakemake.resources.device,
            tensorboard=bool(snakemake.resources.tensorboard),
        ),
        seed=snakemake.params.seed,
    )
