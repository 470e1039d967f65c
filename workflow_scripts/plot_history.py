"""Plot the losses of a training run."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.figures.history import plot_history

    plot_history(snakemake.input.history, snakemake.output.picture)
