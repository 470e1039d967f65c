# What all stages share: the checked configuration, the slides, paths, and digests of the code.
# No science here.

import os
import re
import signal
import sys
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path

from nucleigan import config as nucleigan_config
from nucleigan import slurm
from nucleigan.clock import pull_back
from nucleigan.errors import NucleiganError
from nucleigan.gpus import allowed
from nucleigan.jobs import DISAGREES, explained
from nucleigan.lock import occupy
from nucleigan.models.given import check_start, has_reference, settings_of_model
from nucleigan.models.methods import method_module
from nucleigan.organs import organ_name
from nucleigan.plan import agreement_on, check_agreed, write_plan
from nucleigan.provenance import package_digest, script_digest
from nucleigan.records import spelled, unrecorded
from nucleigan.retries import Retries, forget_failure
from nucleigan.shards import overlapping
from nucleigan.slides.remote import set_patience
from nucleigan.slides.sheet import (
    NOT_READ,
    SPLITS,
    absent,
    check_kept,
    check_read,
    check_slides,
    check_training_sets,
    check_twins,
    hold_out,
    read_sheet,
    teachers,
)

ENVIRONMENT = "../envs/nucleigan.yaml"


def in_one_spelling(slide):
    """A slide whose organ and files are written as all others write them.

    So that jobs, which depend on them, do not run again where nothing but that has changed.
    """
    paths = {"image": spelled(slide.image)}
    if slide.annotation is not None:
        paths["annotation"] = spelled(slide.annotation)
    return replace(slide, organ=organ_name(slide.organ), **paths)


def flattered(settings, looked_at):
    """Warnings of judged slides that had a part in what is judged."""
    splits = settings.evaluation.splits
    if "train" in splits:
        yield "training slides are judged: a network knows them better than others"
    chooses = settings.prediction.choose or settings.segmentation.choose_epoch
    if "val" in splits and looked_at and chooses:
        yield (
            "slides of the split val are judged that thresholds or epochs are chosen by: others will "
            "come out a little worse"
        )


def check_held_out(slides):
    """Raise where painted images could be measured against no slide."""
    if all(slide.split == "train" for slide in slides):
        raise NucleiganError(
            "every slide of the sample sheet has split 'train'; synthetic images are measured "
            "against slides that taught nothing, give one the split test, without annotation if there "
            "is none."
        )


def read_inputs():
    """The configuration and the slides by name; what is wrong with them becomes one sentence."""
    # Snakemake has read them, and of a key that stands in one twice it has taken the last.
    if workflow.is_main_process:
        for path in workflow.configfiles:
            nucleigan_config.read_yaml(path)
    settings = nucleigan_config.validate(config)
    if settings.slides == "phantoms":
        from nucleigan.phantoms.sheet import phantom_slides

        found = phantom_slides(settings.phantoms, Path(settings.results) / "phantoms")
    elif settings.slides:
        # A model that is given is shown no others.
        used = settings.evaluation.splits if settings.segmentation.model else SPLITS
        found = read_sheet(settings.slides, settings.ingestion.max_text_bytes, used)
    else:
        raise NucleiganError(
            "config.yaml: `slides` is empty; name a sample sheet (--config slides=sheet.csv) or "
            "run the demo (--configfile configs/demo.yaml)."
        )
    found = [in_one_spelling(slide) for slide in found]
    if workflow.is_main_process and settings.slides != "phantoms":
        check_read(found, Path(settings.results, "slides"))
    given, validation = settings.segmentation.model, settings.validation
    key = "model" if given else "start_from"
    file = getattr(settings.segmentation, key)
    written = Path(settings.results, "segmentation").resolve()
    if file and written in Path(file).resolve().parents:
        raise NucleiganError(
            f"segmentation.{key}: {file} lies in {settings.results}, which this run writes to; "
            "set `results` to another folder."
        )
    if given:
        # Those that taught the model may be missing in the sheet that it is applied to.
        known = {slide.slide for slide in found}
        validation = [name for name in validation if name in known]
    found = hold_out(found, validation)
    weights = "*/*/*/weights.safetensors"
    trained = (
        sorted(written.glob(weights)) if given and workflow.is_main_process else []
    )
    if trained:
        raise NucleiganError(
            f"segmentation.model: {settings.results} holds what a training made ({trained[0]}), which "
            "the results of the given model would replace; set `results` to another folder."
        )
    if given:
        settings = settings_of_model(settings, given)
        found = [slide for slide in found if slide.split in settings.evaluation.splits]
    for method in (*settings.segmentation.methods, *settings.baselines.methods):
        method_module(method)
    judging = ["test"] if "test" in settings.evaluation.splits else []
    needed = [] if given else ["train", *judging]
    splits = settings.evaluation.splits
    warnings = check_slides(found, settings.stain.reference, needed, splits)
    # Looks at every file, which jobs need not do again.
    if workflow.is_main_process and settings.slides != "phantoms":
        if not given:
            check_twins(found)
        warnings += absent(found)
    teaching = () if given else teachers(found, settings.annotated)
    if (start := settings.segmentation.start_from) and not given:
        warnings += check_start(settings, start)
    if not given:
        check_training_sets(
            "segmentation.data", settings.segmentation.data, len(teaching)
        )
    painting = not given and settings.segmentation.uses_synthetic()
    bare = [slide for slide in found if slide.split == "train" and not slide.annotation]
    if bare and not given and not painting:
        warnings.append(
            f"{len(bare)} training slides have no annotation, and segmentation.data names real pairs "
            "alone: they teach the CycleGAN, which needs both or synthetic there"
        )
    looked_at = any(
        slide.split == "val" and slide.annotation is not None for slide in found
    )
    if not given:
        warnings += flattered(settings, looked_at)
    if settings.segmentation.choose_epoch and not looked_at:
        raise NucleiganError(
            "segmentation.choose_epoch is set, but the sample sheet has no annotated slide of the "
            "split val; name some in `validation`, or set it to false."
        )
    if not any(slide.split in splits for slide in found):
        raise NucleiganError(
            f"evaluation.splits is {', '.join(splits)}, but the sample sheet has no such slide; name "
            "splits that it has."
        )
    if painting:
        check_held_out(found)
    if workflow.is_main_process:
        for warning in warnings:
            print(f"warning: {warning}.", file=sys.stderr)
    # By name, for networks learn in the order of slides: that of the sheet's rows means nothing.
    by_name = {
        slide.slide: slide for slide in sorted(found, key=lambda slide: slide.slide)
    }
    return settings, by_name, teaching


@contextmanager
def in_a_sentence():
    """Inside, an error that a person can mend ends the run with one sentence."""
    try:
        yield
    except Exception as error:
        if (sentence := explained(error)) is None:
            raise
        # Not WorkflowError, which adds the place in this file to what is wrong with another.
        sys.exit(f"error: {sentence}")


with in_a_sentence():
    SETTINGS, SLIDES, TEACHERS = read_inputs()

# Jobs of a cluster read all of it again, perhaps days later.
AGREED = agreement_on(
    SETTINGS.model_dump(mode="json"), [vars(slide) for slide in SLIDES.values()]
)
if not workflow.is_main_process:
    try:
        check_agreed(SETTINGS.results, AGREED)
    except NucleiganError as error:
        # The job says so where all look for what it says.
        os.environ[DISAGREES] = str(error)

# Before Snakemake looks at any of them.
if workflow.is_main_process and (ahead := pull_back(SETTINGS.results)):
    print(
        f"warning: the times of {ahead} files in {SETTINGS.results} lay ahead of the clock, and were "
        "set to the present.",
        file=sys.stderr,
    )

if any(slide.image_address or slide.annotation_address for slide in SLIDES.values()):
    set_patience(
        SETTINGS.ingestion.server_seconds, SETTINGS.ingestion.max_fetched_bytes
    )

TRAIN = [name for name, slide in SLIDES.items() if slide.split == "train"]
JUDGED = [
    name for name, slide in SLIDES.items() if slide.split in SETTINGS.evaluation.splits
]
ANNOTATED = {name for name, slide in SLIDES.items() if slide.annotation is not None}
# Training slides whose images alone are used, by the CycleGAN.
UNANNOTATED = [name for name in TRAIN if name not in TEACHERS]
GIVEN = bool(SETTINGS.segmentation.model)
USES_SYNTHETIC = not GIVEN and SETTINGS.segmentation.uses_synthetic()
# A cluster reserves a GPU for the networks, unless the configuration forbids its use.
GPUS = 0 if SETTINGS.compute.device == "cpu" else 1
# Jobs here share those of this machine, and ask for none where it has none: Snakemake cuts what they
# ask for to what there is. Only runs that submit their jobs have a number of nodes (`jobs`).
if workflow.is_main_process and workflow.nodes is None:
    workflow.global_resources.setdefault("gpu", len(allowed(SETTINGS.compute.device)))


onstart:
    # Jobs are runs of their own, within this one.
    if workflow.is_main_process:
        with in_a_sentence():
            occupy(SETTINGS.results)
        # What `nucleigan status` counts from.
        if not workflow.touch:
            if SETTINGS.slides != "phantoms":
                with in_a_sentence():
                    check_kept(SLIDES.values(), Path(SETTINGS.results, "slides"))
            to_do = set(workflow.dag.needrun_jobs())
            done = [job for job in workflow.dag.jobs if job not in to_do]
            logs = [
                [path for job in jobs for path in job.log] for jobs in (to_do, done)
            ]
            write_plan(SETTINGS.results, *logs, agreed=AGREED)
            # What an earlier run has left of their failures says nothing of those to come.
            for path in logs[0]:
                forget_failure(Path(path))
    # Snakemake answers SIGTERM by waiting for what runs. On a cluster that may be a day, after which
    # nobody watches the jobs any more: it shall take them back, as it does after Ctrl-C.
    if not workflow.local_exec:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A terminal that is closed would end it at once, jobs or not; nohup lets it go on.
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    scheduler = workflow.scheduler
    scheduler.error_callback = Retries(
        scheduler.error_callback, workflow.execution_settings.retries
    )
    # Each look at the ready jobs orders another one a second later, for the sake of a limit on
    # submissions: after a thousand jobs there are a thousand looks a second. It is no limit where
    # fewer jobs may be under way at all, or where they are started as cores get free.
    limiter = scheduler.job_rate_limiter
    if limiter and (workflow.nodes is None or workflow.nodes <= limiter.max_jobs):
        scheduler.job_rate_limiter = None
    # Of SLURM's executor alone.
    executor = scheduler._executor
    if run := getattr(executor, "run_uuid", None):
        slurm.attend(run, lambda: executor.wait)


wildcard_constraints:
    slide=r"[^/]+",
    shard=r"\d+",
    method=r"[^/]+",
    data=r"synthetic|(real|both)(-\d+)?",
    seed=r"\d+",


def results(path):
    """A path under the folder of results."""
    return str(Path(SETTINGS.results, path))


# The real images that the CycleGAN learns from.
UNPAIRED = [
    results("patches/train/images.tif"),
    *expand(results("patches/unannotated/{slide}.images.tif"), slide=UNANNOTATED),
]


def unpaired(_):
    """These images, once the networks that paint are checked.

    A run that learns from real pairs alone need not have them, unless a target asks for them.
    """
    with in_a_sentence():
        SETTINGS.check_painting()
    return UNPAIRED


def held_out(_):
    """Slides that taught nothing, which painted images are measured against."""
    with in_a_sentence():
        check_held_out(SLIDES.values())
    names = [name for name, slide in SLIDES.items() if slide.split != "train"]
    return expand(results("stain/{slide}/image.tif"), slide=names)


def section(name, *without):
    """A section of the configuration as plain values, for a rule's params.

    Without the keys that do not change what the rule makes, so that they do not rerun it.
    """
    return getattr(SETTINGS, name).model_dump(mode="json", exclude=set(without))


def code(script):
    """Digest of the package's code that a script uses, so that changed code reruns its rules."""
    return script_digest(Path(workflow.basedir) / "workflow_scripts" / script)


def training_settings(method, data):
    """Those of segmentation that a training set knows; baselines have a network of their own."""
    settings = section("segmentation", "methods", "data", "seeds", "start_from")
    if method in SETTINGS.baselines.methods:
        settings["generator"] = section("baselines")["generator"]
    if data.startswith("real"):
        for name in ("minimum_agreement", "synthetic_share", "synthetic_until"):
            del settings[name]
    return settings


def starting_weights(wildcards):
    """The model file that a training starts from; baselines start from random weights."""
    path = SETTINGS.segmentation.start_from
    own = wildcards.method not in SETTINGS.baselines.methods
    return [path] if path and own else []


def method_code(wildcards):
    """Digest of a method's own code, which scripts import by its name."""
    return package_digest(method_module(wildcards.method))


def runs(methods, data, seeds):
    """Training runs: method, training set, seed."""
    return list(product(methods, data, seeds))


RUN = "{method}/{data}/{seed}"
RUNS = runs(
    SETTINGS.segmentation.methods,
    SETTINGS.segmentation.data,
    SETTINGS.segmentation.seeds,
)


def of_runs(paths, chosen, **wildcards):
    """The files of training runs, and of each value of further wildcards."""
    return [
        path
        for method, data, seed in dict.fromkeys(chosen)
        for path in expand(paths, method=method, data=data, seed=seed, **wildcards)
    ]


# What takes long to make, and is made by every run.
COSTLY = (
    *(results(f"slides/{slide}/image.tif") for slide in SLIDES),
    *(results(f"stain/{slide}/image.tif") for slide in SLIDES),
    results("cyclegan/generator.safetensors"),
    results("synthesis/judge/weights.safetensors"),
    *of_runs(results(f"segmentation/{RUN}/weights.safetensors"), RUNS),
)
if workflow.is_main_process and (forgotten := unrecorded(COSTLY)):
    print(
        f"warning: Snakemake has no records of what made {len(forgotten)} files in "
        f"{SETTINGS.results}, such as {forgotten[0]}: changed settings and changed code are no reason "
        "for it to make them and what follows anew; run it in the working directory that they were made "
        "in, under their old name, or delete them, or use --forceall.",
        file=sys.stderr,
    )


def judged(chosen):
    """An input function: the tables of training runs, which a sheet must have slides for."""

    def slides(wildcards):
        if not JUDGED_WITH_TRUTH:
            splits = " or ".join(SETTINGS.evaluation.splits)
            sys.exit(
                f"error: no slide of the split {splits} has an `annotation` in the sample sheet, so "
                "that there is nothing to judge by; annotate one, or leave this target out."
            )
        return of_runs(rules.gather_slides.output.slides, chosen)

    return slides


def compared(name, data, chosen):
    """An input function: what a comparison judges, whose training sets need not exist unasked."""

    def slides(wildcards):
        found = judged(chosen)(wildcards)
        with in_a_sentence():
            check_training_sets(f"{name}.data", data, len(TEACHERS))
            SETTINGS.check_compared(name)
        return found

    return slides


def only(names):
    """A wildcard constraint that allows these names alone."""
    return "|".join(map(re.escape, sorted(names))) if names else r"(?!)"


def source(field):
    """The file that the sheet names, if it exists: a missing one fails its own slide alone.

    One that is elsewhere is fetched.
    """

    def existing(wildcards):
        address = getattr(SLIDES[wildcards.slide], f"{field}_address")
        if address is not None:
            return [storage(address)]
        path = getattr(SLIDES[wildcards.slide], field)
        drawn = SETTINGS.slides == "phantoms"
        return (
            [str(path)] if path is not None and (drawn or os.path.exists(path)) else []
        )

    return existing


def sheet_row(wildcards):
    """The slide's row of the sample sheet as plain values."""
    return {
        key: None if value is None else str(value)
        for key, value in vars(SLIDES[wildcards.slide]).items()
    }


def read_row(wildcards):
    """What of it decides what is read; a corrected organ or a further hash reads nothing again."""
    row = sheet_row(wildcards)
    return {key: value for key, value in row.items() if key not in NOT_READ}


def truth(wildcards):
    """The label map of a slide, if it is annotated."""
    return [results("slides/{slide}/labels.tif")] * (wildcards.slide in ANNOTATED)


def annotated(split):
    """Slides of a split that have nuclei to learn from."""
    used = TEACHERS if split == "train" else ANNOTATED
    return [name for name in SLIDES if SLIDES[name].split == split and name in used]


def real_pairs(wildcards):
    """Stacks of real patches, unless the run learns from synthetic ones alone."""
    wanted = wildcards.data != "synthetic"
    return [
        results(f"patches/train/{kind}.tif") for kind in ("images", "labels")
    ] * wanted


def real_patches(wildcards):
    """Which slide each of them comes from."""
    return [results("patches/train/patches.csv")] * (wildcards.data != "synthetic")


def painted_polygons(wildcards):
    """The shards of polygon maps that a shard of pairs is painted into."""
    return overlapping(POLYGON_SHARDS, *SYNTHESIS_SHARDS[int(wildcards.shard)])


def synthetic_files(ending):
    """A file of each shard of synthetic pairs, unless the run learns from real ones alone."""

    def files(wildcards):
        unused = wildcards.data.startswith("real")
        shards = [] if unused else range(len(SYNTHESIS_SHARDS))
        return expand(results(f"synthesis/{{shard}}.{ending}"), shard=shards)

    return files


def agreement_tables(wildcards):
    """How well the synthetic pairs agree, where those that do not are left out."""
    wanted = SETTINGS.segmentation.minimum_agreement > 0
    return synthetic_files("agreement.csv")(wildcards) if wanted else []


def comparison(folder, category):
    """The outputs of a comparison of models, by name."""
    return {
        "slides": report(
            results(f"{folder}/slides.csv"),
            caption="../report/slides_table.rst",
            category=category,
        ),
        "organs": report(
            results(f"{folder}/organs.csv"),
            caption="../report/organs_table.rst",
            category=category,
        ),
        "differences": report(
            results(f"{folder}/differences.csv"),
            caption="../report/differences.rst",
            category=category,
        ),
        "figure": report(
            results(f"{folder}/aji.png"), caption="../report/aji.rst", category=category
        ),
        "long": results(f"{folder}/long.csv"),
        "wide": results(f"{folder}/table.csv"),
        "table": results(f"{folder}/table.md"),
        "latex": results(f"{folder}/table.tex"),
    }
