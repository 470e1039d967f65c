# A CycleGAN learns to turn polygon masks into H&E images.


rule train_cyclegan:
    input:
        images=unpaired,
        # Label maps of the first stack of images.
        labels=(
            [results("patches/train/labels.tif")]
            if SETTINGS.cyclegan.lambda_nuclei
            else []
        ),
        polygons=POLYGONS,
    output:
        generator=results("cyclegan/generator.safetensors"),
        history=results("cyclegan/history.csv"),
        samples=report(
            results("cyclegan/samples.png"),
            caption="../report/cyclegan.rst",
            category="5 CycleGAN",
        ),
    log:
        results("logs/cyclegan/training.log"),
    benchmark:
        results("benchmarks/cyclegan/training.tsv")
    conda:
        ENVIRONMENT
    threads: SETTINGS.compute.threads * SETTINGS.compute.processes
    resources:
        gpu=GPUS * SETTINGS.compute.processes,
        device=SETTINGS.compute.device,
        tensorboard=int(SETTINGS.compute.tensorboard),
    params:
        checkpoint=results("cyclegan/checkpoint"),
        settings=section("cyclegan"),
        masks=section("masks"),
        compute=section("compute", "device", "tensorboard"),
        seed=SETTINGS.seed,
        code=code("train_cyclegan.py"),
    script:
        "../workflow_scripts/train_cyclegan.py"


rule plot_cyclegan:
    input:
        history=results("cyclegan/history.csv"),
    output:
        picture=report(
            results("cyclegan/history.png"),
            caption="../report/history.rst",
            category="5 CycleGAN",
        ),
    log:
        results("logs/cyclegan/history.log"),
    benchmark:
        results("benchmarks/cyclegan/history.tsv")
    conda:
        ENVIRONMENT
    params:
        code=code("plot_history.py"),
    script:
        "../workflow_scripts/plot_history.py"


rule cyclegan:
    input:
        rules.train_cyclegan.output,
        rules.plot_cyclegan.output,
    localrule: True
