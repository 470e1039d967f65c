# Synthetic pairs: the generator paints an image into every polygon map.

SYNTHESIS_SHARDS = shard_bounds(
    SETTINGS.synthesis.count, SETTINGS.synthesis.shards, SETTINGS.synthesis.batch_size
)
SYNTHETIC_IMAGES, SYNTHETIC_LABELS = (
    expand(
        results(f"synthesis/{{shard}}.{kind}.tif"), shard=range(len(SYNTHESIS_SHARDS))
    )
    for kind in ("images", "labels")
)


rule synthesize_pairs:
    input:
        generator=results("cyclegan/generator.safetensors"),
        polygons=lambda wildcards: expand(
            results("polygons/{shard}.labels.tif"), shard=painted_polygons(wildcards)
        ),
    output:
        images=results("synthesis/{shard}.images.tif"),
        labels=results("synthesis/{shard}.labels.tif"),
        table=results("synthesis/{shard}.csv"),
    log:
        results("logs/synthesis/{shard}.log"),
    benchmark:
        results("benchmarks/synthesis/{shard}.tsv")
    conda:
        ENVIRONMENT
    threads: SETTINGS.compute.threads
    resources:
        gpu=GPUS,
        device=SETTINGS.compute.device,
    params:
        bounds=lambda wildcards: SYNTHESIS_SHARDS[int(wildcards.shard)],
        first_map=lambda wildcards: POLYGON_SHARDS[painted_polygons(wildcards)[0]][0],
        settings=section("synthesis", "count", "shards", "judge_epochs"),
        compute=section("compute", "device", "tensorboard", "processes"),
        seed=SETTINGS.seed,
        code=code("synthesize_pairs.py"),
    script:
        "../workflow_scripts/synthesize_pairs.py"


rule show_synthesis:
    input:
        images=SYNTHETIC_IMAGES,
        labels=SYNTHETIC_LABELS,
        real=results("patches/train/images.tif"),
    output:
        picture=report(
            results("synthesis/contact_sheet.png"),
            caption="../report/synthesis.rst",
            category="6 Synthetic pairs",
        ),
    log:
        results("logs/synthesis/contact_sheet.log"),
    benchmark:
        results("benchmarks/synthesis/contact_sheet.tsv")
    conda:
        ENVIRONMENT
    params:
        code=code("show_synthesis.py"),
    script:
        "../workflow_scripts/show_synthesis.py"


rule judge_synthesis:
    input:
        images=SYNTHETIC_IMAGES,
        labels=SYNTHETIC_LABELS,
        real_images=UNPAIRED,
        real_labels=results("patches/train/labels.tif"),
        held_out=held_out,
        generator=results("cyclegan/generator.safetensors"),
        agreement=results("synthesis/agreement.csv"),
    output:
        table=report(
            results("synthesis/quality.csv"),
            caption="../report/quality.rst",
            category="6 Synthetic pairs",
        ),
        figure=report(
            results("synthesis/shapes.png"),
            caption="../report/shapes.rst",
            category="6 Synthetic pairs",
        ),
    log:
        results("logs/synthesis/quality.log"),
    benchmark:
        results("benchmarks/synthesis/quality.tsv")
    conda:
        ENVIRONMENT
    threads: SETTINGS.compute.threads
    resources:
        gpu=GPUS,
        device=SETTINGS.compute.device,
    params:
        compute=section("compute", "device", "tensorboard", "processes"),
        seed=SETTINGS.seed,
        code=code("judge_synthesis.py"),
    script:
        "../workflow_scripts/judge_synthesis.py"


rule synthesis:
    input:
        SYNTHETIC_IMAGES,
        SYNTHETIC_LABELS,
        rules.show_synthesis.output,
        rules.judge_synthesis.output,
    localrule: True
