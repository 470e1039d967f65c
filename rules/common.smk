# What all stages share: the checked configuration, the slides, paths, and digests of the code.
# No science here.

import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from nucleigan import config as nucleigan_config
from nucleigan.errors import NucleiganError
from nucleigan.provenance import script_digest
from nucleigan.slides.sheet import check_slides, read_sheet

ENVIRONMENT = "../envs/nucleigan.yaml"


def read_inputs():
    """The configuration and the slides by name; what is wrong with them becomes one sentence."""
    settings = nucleigan_config.validate(config)
    if settings.slides == "phantoms":
        from nucleigan.phantoms import phantom_slides

        found = phantom_slides(settings.phantoms, Path(settings.results) / "phantoms")
    elif settings.slides:
        found = read_sheet(settings.slides)
    else:
        raise NucleiganError(
            "config.yaml: `slides` is empty; name a sample sheet (--config slides=sheet.csv) or "
            "run the demo (--configfile configs/demo.yaml)."
        )
    for warning in check_slides(found, settings.stain.reference):
        print(f"warning: {warning}", file=sys.stderr)
    return settings, {slide.slide: slide for slide in found}


try:
    SETTINGS, SLIDES = read_inputs()
except NucleiganError as error:
    raise WorkflowError(str(error))

TRAIN = [name for name, slide in SLIDES.items() if slide.split == "train"]
JUDGED = [name for name, slide in SLIDES.items() if slide.split in SETTINGS.evaluation.splits]
ANNOTATED = {name for name, slide in SLIDES.items() if slide.annotation is not None}
USES_SYNTHETIC = set(SETTINGS.segmentation.data) != {"real"}


wildcard_constraints:
    slide=r"[^/]+",
    split=r"train|val|test",
    shard=r"\d+",
    method=r"[^/]+",
    data=r"real|synthetic|both",
    seed=r"\d+",


def results(path):
    """A path under the folder of results."""
    return f"{SETTINGS.results}/{path}"


def section(name):
    """A section of the configuration as plain values, for a rule's params."""
    return getattr(SETTINGS, name).model_dump(mode="json")


def network_settings():
    """What decides the numbers that a network job computes; the device is the machine's matter."""
    return section("compute")


def code(script):
    """Digest of the package's code that a script uses, so that changed code reruns its rules."""
    return script_digest(Path(workflow.basedir) / "workflow_scripts" / script)


def names(pattern):
    """A wildcard constraint that allows these names only."""
    return "|".join(map(re.escape, pattern)) if pattern else r"(?!)"
