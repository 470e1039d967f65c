# A model that is applied as it is, in the place of those that a run trains.


rule take_model:
    input:
        model=SETTINGS.segmentation.model,
    output:
        model=of_runs(results(f"segmentation/{RUN}/model.safetensors"), RUNS)[0],
        reference=results("stain/reference.json"),
    log:
        results("logs/segmentation/model.log"),
    benchmark:
        results("benchmarks/segmentation/model.tsv")
    conda:
        ENVIRONMENT
    params:
        shift=SETTINGS.prediction.shift,
        code=code("take_model.py"),
        method_code=package_digest(method_module(RUNS[0][0])),
    script:
        "../workflow_scripts/take_model.py"


rule segmentation:
    input:
        rules.take_model.output,
    localrule: True
