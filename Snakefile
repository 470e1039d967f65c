"""nucleigan: from raw histopathology slides to nuclei segmentations and a table per organ.

snakemake --cores 2 --configfile configs/demo.yaml     # phantom slides, minutes
snakemake --cores 2 --config slides=sheet.csv          # your slides, the method at full size
snakemake --cores 2 --configfile configs/apply.yaml --config slides=sheet.csv
                                                       # your slides, a trained model
"""

from snakemake.utils import min_version

min_version("9.0")


configfile: f"{workflow.basedir}/config.yaml"


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/slides.smk"
include: "rules/stain.smk"


if GIVEN:

    include: "rules/model.smk"

else:

    include: "rules/patches.smk"
    include: "rules/polygons.smk"
    include: "rules/cyclegan.smk"
    include: "rules/synthesis.smk"
    include: "rules/segmentation.smk"
    include: "rules/agreement.smk"


include: "rules/predictions.smk"
include: "rules/evaluation.smk"


if not GIVEN:

    include: "rules/comparisons.smk"


include: "rules/report.smk"


# Every stage is a target of its own: slides, stain, patches, polygons, cyclegan, synthesis,
# segmentation, predictions, evaluation, report. Beside them: baselines, ablation.
rule all:
    default_target: True
    input:
        rules.slides.input,
        rules.stain.input,
        [] if GIVEN else rules.patches.input,
        rules.polygons.input if USES_SYNTHETIC else [],
        rules.cyclegan.input if USES_SYNTHETIC else [],
        rules.synthesis.input if USES_SYNTHETIC else [],
        rules.segmentation.input,
        rules.predictions.input,
        rules.evaluation.input if JUDGED_WITH_TRUTH else [],
        rules.report.input,
    localrule: True
