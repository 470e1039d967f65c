# Judge every model on the annotated slides, then set the models beside the published ones.

JUDGED_WITH_TRUTH = [name for name in JUDGED if name in ANNOTATED]


rule evaluate_model:
    input:
        predictions=expand(
            results(f"predictions/{RUN}/{{slide}}.labels.tif"),
            slide=JUDGED_WITH_TRUTH,
            allow_missing=True,
        ),
        labels=expand(results("slides/{slide}/labels.tif"), slide=JUDGED_WITH_TRUTH),
    output:
        slides=results(f"evaluation/{RUN}/slides.csv"),
        nuclei=results(f"evaluation/{RUN}/nuclei.csv"),
    log:
        results(f"logs/evaluation/{RUN}.log"),
    benchmark:
        results(f"benchmarks/evaluation/{RUN}.tsv")
    conda:
        ENVIRONMENT
    params:
        slides=JUDGED_WITH_TRUTH,
        organs=[SLIDES[name].organ for name in JUDGED_WITH_TRUTH],
        splits=[SLIDES[name].split for name in JUDGED_WITH_TRUTH],
        code=code("evaluate_model.py"),
    script:
        "../workflow_scripts/evaluate_model.py"


rule compare_models:
    input:
        slides=expand(rules.evaluate_model.output.slides, **RUNS),
    output:
        slides=report(
            results("evaluation/slides.csv"),
            caption="../report/slides_table.rst",
            category="9 Evaluation",
        ),
        organs=report(
            results("evaluation/organs.csv"),
            caption="../report/organs_table.rst",
            category="9 Evaluation",
        ),
        table=results("evaluation/table.md"),
        latex=results("evaluation/table.tex"),
        differences=report(
            results("evaluation/differences.csv"),
            caption="../report/differences.rst",
            category="9 Evaluation",
        ),
        figure=report(
            results("evaluation/aji.png"),
            caption="../report/aji.rst",
            category="9 Evaluation",
        ),
    log:
        results("logs/evaluation/comparison.log"),
    benchmark:
        results("benchmarks/evaluation/comparison.tsv")
    conda:
        ENVIRONMENT
    params:
        phantoms=SETTINGS.slides == "phantoms",
        code=code("compare_models.py"),
    script:
        "../workflow_scripts/compare_models.py"


rule evaluation:
    input:
        rules.compare_models.output,
    localrule: True
