# Figures over all models and slides, and the page that the report starts with.

from nucleigan.splits import shown_split

# Sections of the configuration that the main run depends on: the page names no others.
SECTIONS = set(type(SETTINGS).model_fields) - {
    "results",
    "report",
    "baselines",
    "ablation",
}
if SETTINGS.slides != "phantoms":
    SECTIONS -= {"phantoms"}
if not USES_SYNTHETIC:
    SECTIONS -= {"polygons", "cyclegan", "synthesis"}

# Only where there is something to judge by, and where models are trained.
COMPARISONS = SETTINGS.report.comparisons if JUDGED_WITH_TRUTH and not GIVEN else ()
SECTIONS |= set(COMPARISONS)
TRAINED = [] if GIVEN else RUNS
SHOWN = dict.fromkeys(SECTIONS, True)
# Its methods that are baselines have the network of those, and some methods have one of their own.
OWN = set(SETTINGS.segmentation.methods) - set(SETTINGS.baselines.methods)
if not OWN & {"cgan", "unet", "dist"}:
    SHOWN["segmentation"] = dict.fromkeys(
        set(type(SETTINGS.segmentation).model_fields) - {"generator"}, True
    )
if set(SETTINGS.segmentation.methods) & {"unet", "dist"} - OWN:
    SHOWN.setdefault("baselines", {"generator": True})
if GIVEN:
    # What is configured for trainings says nothing of the model's.
    del SHOWN["patches"]
    SHOWN["segmentation"] = {"model", "methods", "data"}

# The slides of the split that figures show.
SPLITS = {SLIDES[name].split for name in JUDGED_WITH_TRUTH}
CALIBRATED = [
    name for name in JUDGED_WITH_TRUTH if SLIDES[name].split == shown_split(SPLITS)
]


rule compare_stains:
    input:
        facts=expand(results("stain/{slide}/stain.json"), slide=SLIDES),
        reference=results("stain/reference.json"),
    output:
        table=results("stain/vectors.csv"),
        figure=report(
            results("stain/vectors.png"),
            caption="../report/stain_vectors.rst",
            category="2 Stain",
        ),
    log:
        results("logs/stain/vectors.log"),
    benchmark:
        results("benchmarks/stain/vectors.tsv")
    conda:
        ENVIRONMENT
    params:
        code=code("compare_stains.py"),
    script:
        "../workflow_scripts/compare_stains.py"


rule calibrate:
    input:
        model=results(f"segmentation/{RUN}/model.safetensors"),
        images=expand(results("stain/{slide}/image.tif"), slide=CALIBRATED),
        labels=expand(results("slides/{slide}/labels.tif"), slide=CALIBRATED),
    output:
        table=results(f"evaluation/{RUN}/calibration.csv"),
    log:
        results(f"logs/evaluation/{RUN}.calibration.log"),
    benchmark:
        results(f"benchmarks/evaluation/{RUN}.calibration.tsv")
    conda:
        ENVIRONMENT
    threads: SETTINGS.compute.threads
    resources:
        gpu=GPUS,
        device=SETTINGS.compute.device,
    params:
        slides=CALIBRATED,
        compute=section("compute", "device", "tensorboard", "processes"),
        code=code("calibrate.py"),
        method_code=method_code,
    script:
        "../workflow_scripts/calibrate.py"


rule draw_curves:
    input:
        slides=rules.compare_models.output.slides,
        nuclei=of_runs(rules.gather_slides.output.nuclei, RUNS),
        calibrations=of_runs(rules.calibrate.output.table, RUNS),
    output:
        f1=results("evaluation/f1_thresholds.csv"),
        sizes=results("evaluation/sizes.csv"),
        f1_figure=report(
            results("evaluation/f1_thresholds.png"),
            caption="../report/f1_thresholds.rst",
            category="9 Evaluation",
        ),
        sizes_figure=report(
            results("evaluation/sizes.png"),
            caption="../report/sizes.rst",
            category="9 Evaluation",
        ),
        calibration_figure=report(
            results("evaluation/calibration.png"),
            caption="../report/calibration.rst",
            category="9 Evaluation",
        ),
    log:
        results("logs/evaluation/curves.log"),
    benchmark:
        results("benchmarks/evaluation/curves.tsv")
    conda:
        ENVIRONMENT
    params:
        runs=of_runs(RUN, RUNS),
        mpp=SETTINGS.ingestion.mpp,
        code=code("draw_curves.py"),
    script:
        "../workflow_scripts/draw_curves.py"


rule start_page:
    input:
        # Names: one list of files would show each under whatever stands at its place.
        **(
            dict(
                sheet=results("synthesis/contact_sheet.png"),
                quality=results("synthesis/quality.csv"),
                agreement=results("synthesis/agreement.csv"),
                painter=rules.train_cyclegan.output.generator,
            )
            if USES_SYNTHETIC
            else {}
        ),
        # Only where there is something to judge by, as the images, labels and predictions below.
        **(
            dict(
                organs=rules.compare_models.output.organs,
                slides_table=rules.compare_models.output.slides,
                aji=rules.compare_models.output.figure,
                f1=rules.draw_curves.output.f1_figure,
                sizes=rules.draw_curves.output.sizes_figure,
                calibration=rules.draw_curves.output.calibration_figure,
            )
            if JUDGED_WITH_TRUTH
            else {}
        ),
        **{
            f"{name}_{kind}": getattr(getattr(rules, f"compare_{name}").output, kind)
            for name in COMPARISONS
            for kind in ("organs", "differences", "figure")
        },
        slides=expand(results("slides/{slide}/slide.json"), slide=SLIDES),
        reference=results("stain/reference.json"),
        models=of_runs(results(f"segmentation/{RUN}/model.safetensors"), RUNS),
        histories=[
            *([results("cyclegan/history.png")] if USES_SYNTHETIC else []),
            *of_runs(results(f"segmentation/{RUN}/history.png"), TRAINED),
        ],
        training_sets=(
            rules.plot_training_sets.output.figure if "ablation" in COMPARISONS else []
        ),
        images=expand(results("slides/{slide}/image.tif"), slide=JUDGED_WITH_TRUTH),
        labels=expand(results("slides/{slide}/labels.tif"), slide=JUDGED_WITH_TRUTH),
        # The start page shows slides of the run that the configuration names first.
        predictions=of_runs(
            rules.segment_slide.output.labels, RUNS[:1], slide=JUDGED_WITH_TRUTH
        ),
    output:
        page=report(
            results("report/start.html"),
            caption="../report/start.rst",
            category="0 Start",
            labels={"page": "What this run found"},
        ),
    log:
        results("logs/report/start.log"),
    benchmark:
        results("benchmarks/report/start.tsv")
    conda:
        ENVIRONMENT
    params:
        settings=SETTINGS.model_dump(
            mode="json",
            include=SHOWN,
            exclude={"compute": {"device", "tensorboard", "processes"}},
        ),
        runs=of_runs(RUN, RUNS),
        trainings=[*(["CycleGAN"] if USES_SYNTHETIC else []), *of_runs(RUN, TRAINED)],
        slides=[dict(organ=slide.organ, split=slide.split) for slide in SLIDES.values()],
        judged=JUDGED_WITH_TRUTH,
        unjudged=UNJUDGED,
        comparisons=list(COMPARISONS),
        benchmarks=results("benchmarks/"),
        code=code("write_start.py"),
    script:
        "../workflow_scripts/write_start.py"


rule report:
    input:
        rules.compare_stains.output,
        rules.draw_curves.output if JUDGED_WITH_TRUTH else [],
        rules.start_page.output,
    localrule: True
