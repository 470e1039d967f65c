# Models segment whole slides.


rule segment_slide:
    input:
        model=results(f"segmentation/{RUN}/model.safetensors"),
        image=results("stain/{slide}/image.tif"),
        facts=results("slides/{slide}/slide.json"),
        labels=truth,
    output:
        labels=results(f"predictions/{RUN}/{{slide}}.labels.tif"),
        geojson=results(f"predictions/{RUN}/{{slide}}.geojson"),
        picture=results(f"predictions/{RUN}/{{slide}}.png"),
    log:
        results(f"logs/predictions/{RUN}/{{slide}}.log"),
    benchmark:
        results(f"benchmarks/predictions/{RUN}/{{slide}}.tsv")
    wildcard_constraints:
        slide=only(JUDGED),
    conda:
        ENVIRONMENT
    # Slides beside each other use the cores better than threads within a slide.
    threads: 1
    resources:
        gpu=GPUS,
        device=SETTINGS.compute.device,
    params:
        compute=section("compute", "device", "tensorboard", "processes", "threads"),
        code=code("segment_slide.py"),
        method_code=method_code,
    script:
        "../workflow_scripts/segment_slide.py"


rule show_predictions:
    input:
        expand(rules.segment_slide.output.picture, slide=JUDGED, allow_missing=True),
    output:
        report(
            results(f"predictions/{RUN}/contact_sheet.png"),
            caption="../report/predictions.rst",
            category="8 Predictions",
        ),
    log:
        results(f"logs/predictions/{RUN}.contact_sheet.log"),
    benchmark:
        results(f"benchmarks/predictions/{RUN}.contact_sheet.tsv")
    conda:
        ENVIRONMENT
    params:
        code=code("show_pictures.py"),
        columns=4,
    script:
        "../workflow_scripts/show_pictures.py"


rule predictions:
    input:
        of_runs(rules.segment_slide.output, RUNS, slide=JUDGED),
        of_runs(rules.show_predictions.output, RUNS),
    localrule: True
