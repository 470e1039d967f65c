# Normalised slides to stacks of training patches. Validation slides are looked at as they are.


rule cut_patches:
    input:
        images=expand(results("stain/{slide}/image.tif"), slide=annotated("train")),
        labels=expand(results("slides/{slide}/labels.tif"), slide=annotated("train")),
    output:
        images=results("patches/train/images.tif"),
        labels=results("patches/train/labels.tif"),
        table=results("patches/train/patches.csv"),
        picture=report(
            results("patches/train/contact_sheet.png"),
            caption="../report/patches.rst",
            category="3 Patches",
        ),
    log:
        results("logs/patches/train.log"),
    benchmark:
        results("benchmarks/patches/train.tsv")
    conda:
        ENVIRONMENT
    params:
        slides=annotated("train"),
        organs=[SLIDES[name].organ for name in annotated("train")],
        settings=section("patches", "most_unannotated", "least_tissue"),
        code=code("cut_patches.py"),
    script:
        "../workflow_scripts/cut_patches.py"


# What the CycleGAN alone learns from.
rule cut_unannotated:
    input:
        image=results("stain/{slide}/image.tif"),
    output:
        images=results("patches/unannotated/{slide}.images.tif"),
        table=results("patches/unannotated/{slide}.csv"),
        picture=results("patches/unannotated/{slide}.png"),
    log:
        results("logs/patches/unannotated/{slide}.log"),
    benchmark:
        results("benchmarks/patches/unannotated/{slide}.tsv")
    wildcard_constraints:
        slide=only(UNANNOTATED),
    conda:
        ENVIRONMENT
    params:
        organ=lambda wildcards: SLIDES[wildcards.slide].organ,
        settings=section("patches"),
        seed=SETTINGS.seed,
        code=code("cut_unannotated.py"),
    script:
        "../workflow_scripts/cut_unannotated.py"


rule patches:
    input:
        rules.cut_patches.output if annotated("train") else [],
        UNPAIRED if USES_SYNTHETIC else [],
    localrule: True
