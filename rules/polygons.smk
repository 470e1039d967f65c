# Random polygon label maps, with the statistics of the training slides' nuclei.

from nucleigan.shards import shard_bounds

POLYGON_SHARDS = shard_bounds(SETTINGS.polygons.count, SETTINGS.polygons.shards, 1)
POLYGONS = expand(
    results("polygons/{shard}.labels.tif"), shard=range(len(POLYGON_SHARDS))
)


rule fit_polygons:
    input:
        labels=(
            expand(results("slides/{slide}/labels.tif"), slide=annotated("train"))
            if SETTINGS.polygons.fit
            else []
        ),
    output:
        sampler=results("polygons/sampler.json"),
    log:
        results("logs/polygons/sampler.log"),
    benchmark:
        results("benchmarks/polygons/sampler.tsv")
    conda:
        ENVIRONMENT
    params:
        settings=section("polygons", "count", "shards"),
        code=code("fit_polygons.py"),
    script:
        "../workflow_scripts/fit_polygons.py"


rule draw_polygons:
    input:
        sampler=results("polygons/sampler.json"),
    output:
        labels=results("polygons/{shard}.labels.tif"),
    log:
        results("logs/polygons/{shard}.log"),
    benchmark:
        results("benchmarks/polygons/{shard}.tsv")
    conda:
        ENVIRONMENT
    params:
        bounds=lambda wildcards: POLYGON_SHARDS[int(wildcards.shard)],
        size=SETTINGS.patches.size,
        seed=SETTINGS.seed,
        code=code("draw_polygons.py"),
    script:
        "../workflow_scripts/draw_polygons.py"


rule show_polygons:
    input:
        labels=POLYGONS,
    output:
        picture=report(
            results("polygons/contact_sheet.png"),
            caption="../report/polygons.rst",
            category="4 Polygons",
        ),
    log:
        results("logs/polygons/contact_sheet.log"),
    benchmark:
        results("benchmarks/polygons/contact_sheet.tsv")
    conda:
        ENVIRONMENT
    params:
        code=code("show_polygons.py"),
    script:
        "../workflow_scripts/show_polygons.py"


rule polygons:
    input:
        rules.show_polygons.output,
    localrule: True
