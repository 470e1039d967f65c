"""Draw F1 over IoU thresholds, detection over size, and calibration, of all models."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.evaluation.curves import draw_curves
    from nucleigan.segmentation.calibration import draw_calibration

    draw_curves(
        snakemake.input.slides,
        nuclei_tables=snakemake.input.nuclei,
        mpp=snakemake.params.mpp,
        f1_output=snakemake.output.f1,
        sizes_output=snakemake.output.sizes,
        f1_figure=snakemake.output.f1_figure,
        sizes_figure=snakemake.output.sizes_figure,
    )
    draw_calibration(
        dict(zip(snakemake.params.runs, snakemake.input.calibrations, strict=True)),
        snakemake.output.calibration_figure,
    )
