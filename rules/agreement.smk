# Do the synthetic images show their masks? A segmenter of real slides alone judges them.


use rule train_segmenter as train_judge with:
    input:
        real=[results(f"patches/train/{kind}.tif") for kind in ("images", "labels")],
        patches=[results("patches/train/patches.csv")],
        reference=results("stain/reference.json"),
    output:
        weights=results("synthesis/judge/weights.safetensors"),
        history=results("synthesis/judge/history.csv"),
        samples=results("synthesis/judge/samples.png"),
    log:
        results("logs/synthesis/judge.log"),
    benchmark:
        results("benchmarks/synthesis/judge.tsv")
    params:
        method="cgan",
        data="real",
        checkpoint=results("synthesis/judge/checkpoint"),
        settings=training_settings("cgan", "real")
        | {
            # It looks at no slides that others may judge.
            "validate_every": 0,
            "choose_epoch": False,
            "epochs": SETTINGS.synthesis.judge_epochs,
            "decay_from": SETTINGS.synthesis.judge_epochs // 2,
        },
        masks=section("masks"),
        stain=section("stain", "reference"),
        compute=section("compute", "device", "tensorboard"),
        seed=(SETTINGS.seed, "judge"),
        mpp=SETTINGS.ingestion.mpp,
        code=code("train_segmenter.py"),
        method_code=package_digest(method_module("cgan")),


rule judge_agreement:
    input:
        judge=rules.train_judge.output.weights,
        images=rules.synthesize_pairs.output.images,
        labels=rules.synthesize_pairs.output.labels,
    output:
        table=results("synthesis/{shard}.agreement.csv"),
    log:
        results("logs/synthesis/{shard}.agreement.log"),
    benchmark:
        results("benchmarks/synthesis/{shard}.agreement.tsv")
    conda:
        ENVIRONMENT
    threads: SETTINGS.compute.threads
    resources:
        gpu=GPUS,
        device=SETTINGS.compute.device,
    params:
        start=lambda wildcards: SYNTHESIS_SHARDS[int(wildcards.shard)][0],
        compute=section("compute", "device", "tensorboard", "processes"),
        code=code("judge_agreement.py"),
        method_code=package_digest(method_module("cgan")),
    script:
        "../workflow_scripts/judge_agreement.py"


rule gather_agreement:
    input:
        expand(rules.judge_agreement.output.table, shard=range(len(SYNTHESIS_SHARDS))),
    output:
        report(
            results("synthesis/agreement.csv"),
            caption="../report/agreement.rst",
            category="6 Synthetic pairs",
        ),
    log:
        results("logs/synthesis/agreement.log"),
    benchmark:
        results("benchmarks/synthesis/agreement.tsv")
    conda:
        ENVIRONMENT
    params:
        code=code("gather_agreement.py"),
    script:
        "../workflow_scripts/gather_agreement.py"
