# Judge every model on the annotated slides, then set the models beside the published ones.

JUDGED_WITH_TRUTH = [name for name in JUDGED if name in ANNOTATED]
UNJUDGED = [name for name in JUDGED if name not in ANNOTATED]


rule evaluate_slide:
    input:
        prediction=results(f"predictions/{RUN}/{{slide}}.labels.tif"),
        labels=results("slides/{slide}/labels.tif"),
    output:
        measures=results(f"evaluation/{RUN}/slides/{{slide}}.csv"),
        nuclei=results(f"evaluation/{RUN}/nuclei/{{slide}}.csv"),
    log:
        results(f"logs/evaluation/{RUN}/{{slide}}.log"),
    benchmark:
        results(f"benchmarks/evaluation/{RUN}/{{slide}}.tsv")
    wildcard_constraints:
        slide=only(JUDGED_WITH_TRUTH),
    conda:
        ENVIRONMENT
    params:
        organ=lambda wildcards: SLIDES[wildcards.slide].organ,
        split=lambda wildcards: SLIDES[wildcards.slide].split,
        patient=lambda wildcards: SLIDES[wildcards.slide].patient or "",
        mpp=SETTINGS.ingestion.mpp,
        code=code("evaluate_slide.py"),
    script:
        "../workflow_scripts/evaluate_slide.py"


rule gather_slides:
    input:
        measures=expand(
            rules.evaluate_slide.output.measures,
            slide=JUDGED_WITH_TRUTH,
            allow_missing=True,
        ),
        nuclei=expand(
            rules.evaluate_slide.output.nuclei,
            slide=JUDGED_WITH_TRUTH,
            allow_missing=True,
        ),
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
        code=code("gather_slides.py"),
    script:
        "../workflow_scripts/gather_slides.py"


rule compare_models:
    input:
        slides=judged(RUNS),
    output:
        **comparison("evaluation", "9 Evaluation"),
    log:
        results("logs/evaluation/comparison.log"),
    benchmark:
        results("benchmarks/evaluation/comparison.tsv")
    conda:
        ENVIRONMENT
    params:
        phantoms=SETTINGS.slides == "phantoms",
        unjudged=UNJUDGED,
        code=code("compare_models.py"),
    script:
        "../workflow_scripts/compare_models.py"


rule evaluation:
    input:
        rules.compare_models.output,
    localrule: True
