# Raw slides to TIFF at the working magnification, annotations to label maps.


def source(field):
    """The file that the sheet names, if it exists: a missing one fails its own slide alone."""

    def existing(wildcards):
        path = getattr(SLIDES[wildcards.slide], field)
        drawn = SETTINGS.slides == "phantoms"
        return [str(path)] if path is not None and (drawn or path.exists()) else []

    return existing


def sheet_row(wildcards):
    """The slide's row of the sample sheet as plain values."""
    return {
        key: None if value is None else str(value)
        for key, value in vars(SLIDES[wildcards.slide]).items()
    }


if SETTINGS.slides == "phantoms":

    rule draw_phantom:
        output:
            image=results("phantoms/images/{slide}.tif"),
            annotation=results("phantoms/annotations/{slide}.xml"),
        params:
            row=sheet_row,
            settings=section("phantoms"),
            seed=SETTINGS.seed,
            code=code("draw_phantom.py"),
        log:
            results("logs/phantoms/{slide}.log"),
        benchmark:
            results("benchmarks/phantoms/{slide}.tsv")
        conda:
            ENVIRONMENT
        script:
            "../workflow_scripts/draw_phantom.py"


rule ingest_slide:
    input:
        image=source("image"),
        annotation=source("annotation"),
    output:
        image=results("slides/{slide}/image.tif"),
        labels=results("slides/{slide}/labels.tif"),
        facts=results("slides/{slide}/slide.json"),
        picture=results("slides/{slide}/overview.png"),
    wildcard_constraints:
        slide=names(sorted(ANNOTATED)),
    params:
        row=sheet_row,
        settings=section("ingestion"),
        code=code("ingest_slide.py"),
    log:
        results("logs/slides/{slide}.log"),
    benchmark:
        results("benchmarks/slides/{slide}.tsv")
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/ingest_slide.py"


use rule ingest_slide as ingest_slide_without_annotation with:
    input:
        image=source("image"),
    output:
        image=results("slides/{slide}/image.tif"),
        facts=results("slides/{slide}/slide.json"),
        picture=results("slides/{slide}/overview.png"),
    wildcard_constraints:
        slide=names(sorted(set(SLIDES) - ANNOTATED)),


rule show_slides:
    input:
        expand(results("slides/{slide}/overview.png"), slide=SLIDES),
    output:
        report(
            results("slides/contact_sheet.png"),
            caption="../report/slides.rst",
            category="1 Slides",
        ),
    params:
        code=code("show_pictures.py"),
        columns=8,
    log:
        results("logs/slides/contact_sheet.log"),
    benchmark:
        results("benchmarks/slides/contact_sheet.tsv")
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/show_pictures.py"


rule slides:
    localrule: True
    input:
        expand(results("slides/{slide}/slide.json"), slide=SLIDES),
        rules.show_slides.output,
