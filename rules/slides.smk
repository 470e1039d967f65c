# Raw slides to TIFF at the working magnification, annotations to label maps.


if SETTINGS.slides == "phantoms":

    rule draw_phantom:
        output:
            image=results("phantoms/images/{slide}.tif"),
            annotation=results("phantoms/annotations/{slide}.xml"),
        log:
            results("logs/phantoms/{slide}.log"),
        benchmark:
            results("benchmarks/phantoms/{slide}.tsv")
        conda:
            ENVIRONMENT
        params:
            row=sheet_row,
            settings=section("phantoms", "train_per_organ"),
            seed=SETTINGS.seed,
            code=code("draw_phantom.py"),
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
    log:
        results("logs/slides/{slide}.log"),
    benchmark:
        results("benchmarks/slides/{slide}.tsv")
    wildcard_constraints:
        slide=only(ANNOTATED),
    conda:
        ENVIRONMENT
    params:
        row=read_row,
        settings=section("ingestion", *nucleigan_config.INGESTION_LIMITS),
        code=code("ingest_slide.py"),
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
        slide=only(set(SLIDES) - ANNOTATED),


rule show_slides:
    input:
        expand(results("slides/{slide}/overview.png"), slide=SLIDES),
    output:
        report(
            results("slides/contact_sheet.png"),
            caption="../report/slides.rst",
            category="1 Slides",
        ),
    log:
        results("logs/slides/contact_sheet.log"),
    benchmark:
        results("benchmarks/slides/contact_sheet.tsv")
    conda:
        ENVIRONMENT
    params:
        code=code("show_pictures.py"),
        columns=8,
    script:
        "../workflow_scripts/show_pictures.py"


rule slides:
    input:
        expand(results("slides/{slide}/slide.json"), slide=SLIDES),
        rules.show_slides.output,
    localrule: True
