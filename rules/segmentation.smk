# Conditional GANs learn to segment.

# Thresholds are chosen on slides that no training sees and no evaluation judges by.
VALIDATION = annotated("val") if SETTINGS.prediction.choose else []
LOOKED_AT = annotated("val") if SETTINGS.segmentation.validate_every else []


rule train_segmenter:
    input:
        real=real_pairs,
        patches=real_patches,
        synthetic_images=synthetic_files("images.tif"),
        synthetic_labels=synthetic_files("labels.tif"),
        agreement=agreement_tables,
        reference=results("stain/reference.json"),
        start=starting_weights,
        validation_images=expand(results("stain/{slide}/image.tif"), slide=LOOKED_AT),
        validation_labels=expand(results("slides/{slide}/labels.tif"), slide=LOOKED_AT),
    output:
        weights=results(f"segmentation/{RUN}/weights.safetensors"),
        history=results(f"segmentation/{RUN}/history.csv"),
        samples=report(
            results(f"segmentation/{RUN}/samples.png"),
            caption="../report/segmentation.rst",
            category="7 Segmentation",
        ),
    log:
        results(f"logs/segmentation/{RUN}.log"),
    benchmark:
        results(f"benchmarks/segmentation/{RUN}.tsv")
    conda:
        ENVIRONMENT
    threads: SETTINGS.compute.threads * SETTINGS.compute.processes
    resources:
        gpu=GPUS * SETTINGS.compute.processes,
        device=SETTINGS.compute.device,
        tensorboard=int(SETTINGS.compute.tensorboard),
    params:
        method=lambda wildcards: wildcards.method,
        data=lambda wildcards: wildcards.data,
        checkpoint=results(f"segmentation/{RUN}/checkpoint"),
        settings=lambda wildcards: training_settings(wildcards.method, wildcards.data),
        masks=section("masks"),
        stain=section("stain", "reference"),
        compute=section("compute", "device", "tensorboard"),
        seed=lambda wildcards: (SETTINGS.seed, int(wildcards.seed)),
        mpp=SETTINGS.ingestion.mpp,
        code=code("train_segmenter.py"),
        method_code=method_code,
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


rule choose_thresholds:
    input:
        weights=results(f"segmentation/{RUN}/weights.safetensors"),
        images=expand(results("stain/{slide}/image.tif"), slide=VALIDATION),
        labels=expand(results("slides/{slide}/labels.tif"), slide=VALIDATION),
    output:
        model=results(f"segmentation/{RUN}/model.safetensors"),
        table=results(f"segmentation/{RUN}/thresholds.csv"),
    log:
        results(f"logs/segmentation/{RUN}.thresholds.log"),
    benchmark:
        results(f"benchmarks/segmentation/{RUN}.thresholds.tsv")
    conda:
        ENVIRONMENT
    threads: SETTINGS.compute.threads
    resources:
        gpu=GPUS if VALIDATION else 0,
        device=SETTINGS.compute.device,
    params:
        slides=VALIDATION,
        settings=section("prediction"),
        data_licence=SETTINGS.data_licence,
        compute=section("compute", "device", "tensorboard", "processes"),
        code=code("choose_thresholds.py"),
        method_code=method_code,
    script:
        "../workflow_scripts/choose_thresholds.py"


rule segmentation:
    input:
        of_runs(rules.train_segmenter.output, RUNS),
        of_runs(rules.choose_thresholds.output, RUNS),
        of_runs(rules.plot_segmentation.output, RUNS),
    localrule: True
