# Further models beside those of the main run: other methods, and other training sets.

BASELINES = RUNS + runs(
    SETTINGS.baselines.methods, SETTINGS.baselines.data, SETTINGS.baselines.seeds
)
ABLATION = runs(["cgan"], SETTINGS.ablation.data, SETTINGS.ablation.seeds)


use rule compare_models as compare_baselines with:
    input:
        slides=compared("baselines", SETTINGS.baselines.data, BASELINES),
    output:
        **comparison("baselines", "9 Evaluation: baselines"),
    log:
        results("logs/baselines/comparison.log"),
    benchmark:
        results("benchmarks/baselines/comparison.tsv")


use rule compare_models as compare_ablation with:
    input:
        slides=compared("ablation", SETTINGS.ablation.data, ABLATION),
    output:
        **comparison("ablation", "9 Evaluation: ablation"),
    log:
        results("logs/ablation/comparison.log"),
    benchmark:
        results("benchmarks/ablation/comparison.tsv")


rule plot_training_sets:
    input:
        organs=rules.compare_ablation.output.organs,
    output:
        figure=report(
            results("ablation/training_sets.png"),
            caption="../report/training_sets.rst",
            category="9 Evaluation: ablation",
        ),
    log:
        results("logs/ablation/training_sets.log"),
    benchmark:
        results("benchmarks/ablation/training_sets.tsv")
    conda:
        ENVIRONMENT
    params:
        code=code("plot_training_sets.py"),
    script:
        "../workflow_scripts/plot_training_sets.py"


rule baselines:
    input:
        rules.compare_baselines.output,
        of_runs(rules.show_predictions.output, BASELINES),
    localrule: True


rule ablation:
    input:
        rules.compare_ablation.output,
        rules.plot_training_sets.output,
    localrule: True
