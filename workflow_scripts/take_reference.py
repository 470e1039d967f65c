"""Take the stains that a model file expects, from which trainings start."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.config import ComputeSettings
    from nucleigan.segmentation import take_reference

    take_reference(
        snakemake.input.model,
        reference_output=snakemake.output.reference,
        # It is only looked at.
        compute=ComputeSettings(device="cpu"),
    )
