# Conditional GANs learn to segment; then they segment whole slides.

RUNS = dict(
    method=SETTINGS.segmentation.methods,
    data=SETTINGS.segmentation.data,
    seed=SETTINGS.segmentation.seeds,
)
RUN = "{method}/{data}/{seed}"


def real_pairs(wildcards):
    """Stacks of real patches, unless the run learns from synthetic ones alone."""
    wanted = wildcards.data != "synthetic"
    return [results(f"patches/train/{kind}.tif") for kind in ("images", "labels")] * wanted


def synthetic_stacks(kind):
    """Stacks of synthetic pairs, unless the run learns from real ones alone."""

    def stacks(wildcards):
        shards = range(len(SYNTHESIS_SHARDS)) if wildcards.data != "real" else []
        return expand(results(f"synthesis/{{shard}}.{kind}.tif"), shard=shards)

    return stacks


rule train_segmenter:
    input:
        real=real_pairs,
        synthetic_images=synthetic_stacks("images"),
        synthetic_labels=synthetic_stacks("labels"),
        reference=results("stain/reference.json"),
    output:
        model=results(f"segmentation/{RUN}/model.safetensors"),
        history=results(f"segmentation/{RUN}/history.csv"),
        samples=report(
            results(f"segmentation/{RUN}/samples.png"),
            caption="../report/segmentation.rst",
            category="7 Segmentation",
        ),
    params:
        checkpoint=results(f"segmentation/{RUN}/checkpoint"),
        settings={
            key: value
            for key, value in section("segmentation").items()
            if key not in ("methods", "data", "seeds")
        },
        masks=section("masks"),
        stain=section("stain"),
        compute=network_settings(),
        seed=lambda wildcards: (SETTINGS.seed, int(wildcards.seed)),
        mpp=SETTINGS.ingestion.mpp,
        code=code("train_segmenter.py"),
    threads: SETTINGS.compute.threads
    resources:
        gpu=1,
    log:
        results(f"logs/segmentation/{RUN}.log"),
    benchmark:
        results(f"benchmarks/segmentation/{RUN}.tsv")
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/train_segmenter.py"


use rule plot_cyclegan as plot_segmentation with:
    input:
        history=results(f"segmentation/{RUN}/history.csv"),
    output:
        picture=report(
            results(f"segmentation/{RUN}/history.png"),
            caption="../report/history.rst",
            category="7 Segmentation",
        ),
    log:
        results(f"logs/segmentation/{RUN}.history.log"),
    benchmark:
        results(f"benchmarks/segmentation/{RUN}.history.tsv")


rule segment_slides:
    input:
        model=results(f"segmentation/{RUN}/model.safetensors"),
        images=expand(results("stain/{slide}/image.tif"), slide=JUDGED),
        labels=expand(
            results("slides/{slide}/labels.tif"),
            slide=[name for name in JUDGED if name in ANNOTATED],
        ),
    output:
        labels=expand(
            results(f"predictions/{RUN}/{{slide}}.labels.tif"), slide=JUDGED, allow_missing=True
        ),
        geojson=expand(
            results(f"predictions/{RUN}/{{slide}}.geojson"), slide=JUDGED, allow_missing=True
        ),
        pictures=expand(
            results(f"predictions/{RUN}/{{slide}}.png"), slide=JUDGED, allow_missing=True
        ),
    params:
        slides=JUDGED,
        annotated=[name in ANNOTATED for name in JUDGED],
        compute=network_settings(),
        code=code("segment_slides.py"),
    threads: SETTINGS.compute.threads
    resources:
        gpu=1,
    log:
        results(f"logs/predictions/{RUN}.log"),
    benchmark:
        results(f"benchmarks/predictions/{RUN}.tsv")
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/segment_slides.py"


rule show_predictions:
    input:
        rules.segment_slides.output.pictures,
    output:
        report(
            results(f"predictions/{RUN}/contact_sheet.png"),
            caption="../report/predictions.rst",
            category="8 Predictions",
        ),
    params:
        code=code("show_pictures.py"),
        columns=4,
    log:
        results(f"logs/predictions/{RUN}.contact_sheet.log"),
    benchmark:
        results(f"benchmarks/predictions/{RUN}.contact_sheet.tsv")
    conda:
        ENVIRONMENT
    script:
        "../workflow_scripts/show_pictures.py"


rule segmentation:
    localrule: True
    input:
        expand(rules.train_segmenter.output, **RUNS),
        expand(rules.plot_segmentation.output, **RUNS),


rule predictions:
    localrule: True
    input:
        expand(rules.segment_slides.output, **RUNS),
        expand(rules.show_predictions.output, **RUNS),
