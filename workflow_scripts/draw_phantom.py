"""Draw one phantom slide with its annotation."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.config import PhantomSettings
    from nucleigan.phantoms.draw import draw_phantom
    from nucleigan.slides.sheet import slide_from_row

    draw_phantom(
        slide_from_row(snakemake.params.row),
        seed=snakemake.params.seed,
        settings=PhantomSettings(**snakemake.params.settings),
    )
