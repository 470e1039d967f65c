# Normalised slides to stacks of training patches.


rule cut_patches:
    input:
        images=lambda wildcards: expand(
            results("stain/{slide}/image.tif"), slide=annotated(wildcards.split)
        ),
        labels=lambda wildcards: expand(
            results("slides/{slide}/labels.tif"), slide=annotated(wildcards.split)
        ),
    output:
        images=results("patches/{split}/images.tif"),
        labels=results("patches/{split}/labels.tif"),
        table=results("patches/{split}/patches.csv"),
        picture=report(
            results("patches/{split}/contact_sheet.png"),
            caption="../report/patches.rst",
            category="3 Patches",
        ),
    log:
        results("logs/patches/{split}.log"),
    benchmark:
        results("benchmarks/patches/{split}.tsv")
    conda:
        ENVIRONMENT
    params:
        slides=lambda wildcards: annotated(wildcards.split),
        organs=lambda wildcards: [
            SLIDES[name].organ for name in annotated(wildcards.split)
        ],
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
        expand(
            results("patches/{split}/patches.csv"),
            split=[split for split in ("train", "val") if annotated(split)],
        ),
        UNPAIRED if USES_SYNTHETIC else [],
    localrule: True
