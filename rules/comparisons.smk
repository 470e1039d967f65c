# Further models beside those of the main run: other methods, and other training sets.

BASELINES = RUNS + runs(
    SETTINGS.baselines.methods, SETTINGS.baselines.data, SETTINGS.baselines.seeds
)
ABLATION = runs(["cgan"], SETTINGS.ablation.data, SETTINGS.ablation.seeds)


use rule compare_models as compare_baselines with:
    input:
        slides=of_runs(rules.gather_slides.output.slides, BASELINES),
    output:
        slides=results("baselines/slides.csv"),
        organs=report(
            results("baselines/organs.csv"),
            caption="../report/organs_table.rst",
            category="10 Baselines",
        ),
        table=results("baselines/table.md"),
        latex=results("baselines/table.tex"),
        differences=report(
            results("baselines/differences.csv"),
            caption="../report/differences.rst",
            category="10 Baselines",
        ),
        figure=report(
            results("baselines/aji.png"),
            caption="../report/aji.rst",
            category="10 Baselines",
        ),
    log:
        results("logs/baselines/comparison.log"),
    benchmark:
        results("benchmarks/baselines/comparison.tsv")


use rule compare_models as compare_ablation with:
    input:
        slides=of_runs(rules.gather_slides.output.slides, ABLATION),
    output:
        slides=results("ablation/slides.csv"),
        organs=report(
            results("ablation/organs.csv"),
            caption="../report/organs_table.rst",
            category="11 Ablation",
        ),
        table=results("ablation/table.md"),
        latex=results("ablation/table.tex"),
        differences=report(
            results("ablation/differences.csv"),
            caption="../report/differences.rst",
            category="11 Ablation",
        ),
        figure=report(
            results("ablation/aji.png"),
            caption="../report/aji.rst",
            category="11 Ablation",
        ),
    log:
        results("logs/ablation/comparison.log"),
    benchmark:
        results("benchmarks/ablation/comparison.tsv")


rule baselines:
    input:
        rules.compare_baselines.output,
        of_runs(rules.show_predictions.output, BASELINES),
    localrule: True


rule ablation:
    input:
        rules.compare_ablation.output,
    localrule: True
