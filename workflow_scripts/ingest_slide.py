"""Bring one slide and its annotation to the working magnification."""

from nucleigan.jobs import job

with job(snakemake.log[0]):
    from nucleigan.config import IngestionSettings
    from nucleigan.slides import ingest
    from nucleigan.slides.sheet import slide_from_row, stated_hashes

    row = dict(snakemake.params.row)
    # As limits below, they are checked, and are no reason to read a slide again.
    row |= stated_hashes(snakemake.config["slides"], row["slide"])
    # What was fetched lies where Snakemake put it.
    for field in ("image", "annotation"):
        if row[f"{field}_address"]:
            row[field] = str(snakemake.input[field])
    ingest(
        slide_from_row(row),
        image_output=snakemake.output.image,
        labels_output=snakemake.output.get("labels"),
        facts_output=snakemake.output.facts,
        picture_output=snakemake.output.picture,
        # Limits are no params: a higher one is no reason to read other slides again.
        settings=IngestionSettings(
            **{**(snakemake.config.get("ingestion") or {}), **snakemake.params.settings}
        ),
    )
