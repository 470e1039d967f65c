"""Train one method on one training set."""

from nucleigan.gpus import use_gpus
from nucleigan.jobs import job

with job(snakemake.log[0]), use_gpus(snakemake.resources.gpu, snakemake.resources.device):
    from nucleigan.config import ComputeSettings, MaskSettings, SegmentationSettings, StainSettings
    from nucleigan.models.train import train_segmenter
    from nucleigan.randomness import torch_seed
    from nucleigan.training.processes import spread

    spread(snakemake.params.compute["processes"], snakemake.resources.device)
    train_segmenter(
        method=snakemake.params.method,
        data=snakemake.params.data,
        real=tuple([path] for path in snakemake.input.get("real", [])),
        synthetic=(
            list(snakemake.input.get("synthetic_images", [])),
            list(snakemake.input.get("synthetic_labels", [])),
        ),
        patches=next(iter(snakemake.input.get("patches", [])), None),
        agreement=list(snakemake.input.get("agreement", [])),
        weights_output=snakemake.output.weights,
        history_output=snakemake.output.history,
        samples_output=snakemake.output.samples,
        checkpoint=snakemake.params.checkpoint,
        settings=SegmentationSettings(**snakemake.params.settings),
        mask_settings=MaskSettings(**snakemake.params.masks),
        stain_settings=StainSettings(**snakemake.params.stain),
        compute_settings=ComputeSettings(
            **snakemake.params.compute,
            device=snakemake.resources.device,
            tensorboard=bool(snakemake.resources.tensorboard),
        ),
        seed=torch_seed(*snakemake.params.seed),
        mpp=snakemake.params.mpp,
        reference=snakemake.input.reference,
        start=next(iter(snakemake.input.get("start", [])), None),
        validation=(
            list(snakemake.input.get("validation_images", [])),
            list(snakemake.input.get("validation_labels", [])),
        ),
    )
