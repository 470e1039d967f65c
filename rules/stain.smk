# Sparse stain separation, and normalisation to one reference slide.


rule profile_stain:
    input:
        image=results("slides/{slide}/image.tif"),
    output:
        profile=results("stain/{slide}/profile.json"),
    log:
        results("logs/stain/{slide}.profile.log"),
    benchmark:
        results("benchmarks/stain/{slide}.profile.tsv")
    conda:
        ENVIRONMENT
    params:
        settings=section("stain", "reference"),
        code=code("profile_stain.py"),
    script:
        "../workflow_scripts/profile_stain.py"


# A model that is given says which, and so does one that trainings start from.
if not GIVEN and has_reference(SETTINGS):

    rule take_reference:
        input:
            model=SETTINGS.segmentation.start_from,
        output:
            reference=results("stain/reference.json"),
        log:
            results("logs/stain/reference.log"),
        benchmark:
            results("benchmarks/stain/reference.tsv")
        conda:
            ENVIRONMENT
        params:
            code=code("take_reference.py"),
        script:
            "../workflow_scripts/take_reference.py"

elif not GIVEN:

    rule choose_reference:
        input:
            profiles=expand(
                results("stain/{slide}/profile.json"),
                slide=(
                    TRAIN
                    if SETTINGS.stain.reference == "auto"
                    else [SETTINGS.stain.reference]
                ),
            ),
        output:
            reference=results("stain/reference.json"),
        log:
            results("logs/stain/reference.log"),
        benchmark:
            results("benchmarks/stain/reference.tsv")
        conda:
            ENVIRONMENT
        params:
            settings=section("stain"),
            code=code("choose_reference.py"),
        script:
            "../workflow_scripts/choose_reference.py"


rule normalize_slide:
    input:
        image=results("slides/{slide}/image.tif"),
        profile=results("stain/{slide}/profile.json"),
        reference=results("stain/reference.json"),
    output:
        image=results("stain/{slide}/image.tif"),
        facts=results("stain/{slide}/stain.json"),
        picture=results("stain/{slide}/before_after.png"),
    log:
        results("logs/stain/{slide}.log"),
    benchmark:
        results("benchmarks/stain/{slide}.tsv")
    conda:
        ENVIRONMENT
    params:
        settings=section("stain", "reference"),
        mpp=SETTINGS.ingestion.mpp,
        code=code("normalize_slide.py"),
    script:
        "../workflow_scripts/normalize_slide.py"


rule show_stain:
    input:
        expand(results("stain/{slide}/before_after.png"), slide=SLIDES),
    output:
        report(
            results("stain/contact_sheet.png"),
            caption="../report/stain.rst",
            category="2 Stain",
        ),
    log:
        results("logs/stain/contact_sheet.log"),
    benchmark:
        results("benchmarks/stain/contact_sheet.tsv")
    conda:
        ENVIRONMENT
    params:
        code=code("show_pictures.py"),
        columns=2,
    script:
        "../workflow_scripts/show_pictures.py"


rule stain:
    input:
        expand(results("stain/{slide}/stain.json"), slide=SLIDES),
        rules.show_stain.output,
    localrule: True
