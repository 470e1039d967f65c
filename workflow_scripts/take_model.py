"""Take a model file that is applied as it is."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.config import ComputeSettings
    from nucleigan.segmentation import take_model

    take_model(
        snakemake.input.model,
        model_output=snakemake.output.model,
        reference_output=snakemake.output.reference,
        shift=snakemake.params.shift,
        # It is only looked at.
        compute=ComputeSettings(device="cpu"),
    )
