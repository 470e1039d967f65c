"""Draw what each training set brings."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.figures.ablation import plot_training_sets

    plot_training_sets(snakemake.input.organs, snakemake.output.figure)
