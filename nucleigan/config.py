"""The configuration: one frozen model per stage, the only source of defaults, checks and schema.

``config.yaml`` repeats every default with its origin, so that a reader sees the whole experiment in
one file; a test holds the two together.
"""

import re
import reprlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from nucleigan.errors import NucleiganError, reason, shown
from nucleigan.records import spelled

# Of a configuration file, bytes; ours has some 20,000.
LARGEST = 1_000_000
# Named at a time.
MOST_FAULTS = 5
# Side of the windows that the method cnn3 looks at, pixels.
CNN3_WINDOW = 47
# Sides up to which these methods make a single pixel of a window, pixels.
POOLED = {"fcn": 8, "mask_rcnn": 32}
# No drawn nucleus is longer, times its width.
MAX_ELONGATION = 4.0
# An enlargement that the network rounds by more than this is another one.
ROUNDED = 0.05
# How YAML writes that there is nothing.
NONE = ("null", "Null", "NULL", "~", "")
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


def _ordered(values: tuple[float, float]) -> tuple[float, float]:
    if values[0] > values[1]:
        raise ValueError("expected the smaller number first")
    return values


Range = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
Shift = Annotated[float, Field(ge=-1, le=1)]
Encoding = Literal["filled", "outline", "interior_boundary"]
Seeds = tuple[Annotated[int, Field(ge=0)], ...]


def _known(device: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ValueError("expected auto, cpu, cuda or cuda:N")
    return device


def _plain(folder: str) -> str:
    if not folder:
        raise ValueError("expected a folder, found nothing")
    # One spelling, by which paths that are put together in two ways are the same.
    folder = str(spelled(folder))
    # Snakemake takes what stands in braces as a wildcard, and only a shell knows what ~ is.
    if re.search(r"[{}]", folder) or folder.startswith("~"):
        raise ValueError("expected a path without braces that does not begin with ~")
    return folder


Device = Annotated[str, AfterValidator(_known)]
Folder = Annotated[str, AfterValidator(_plain)]
# real-4 and both-4: with 4 of the real slides.
TrainingData = Annotated[str, Field(pattern=r"^(synthetic|(real|both)(-[1-9][0-9]*)?)$")]


class Settings(BaseModel):
    """Base of all sections: immutable, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    @model_validator(mode="before")
    @classmethod
    def _from_a_command(cls, values: Any) -> Any:
        """In braces behind ``--config``, Snakemake leaves every value as text."""
        if not isinstance(values, dict):
            return values
        found = dict(values)
        for name, field in cls.model_fields.items():
            value = found.get(name)
            if isinstance(value, str):
                kinds = get_args(field.annotation)
                if value in NONE and type(None) in kinds:
                    found[name] = None
                # One of several numbers, which are compared as they are.
                else:
                    choices = {str(kind): kind for kind in kinds if type(kind) is int}
                    found[name] = choices.get(value, value)
        return found


class IngestionSettings(Settings):
    """How slides and their annotations are read."""

    mpp: Positive = Field(0.25, description="Working magnification, µm per pixel (0.25 is 40×).")
    max_pixels: Count = Field(
        20_000_000_000, description="Largest slide that is accepted, pixels; more is refused."
    )
    max_pixels_whole: Count = Field(
        250_000_000,
        description="Largest image that is decoded as a whole (PNG, JPEG, TIFF of one "
        "compressed strip or with separate channels), and largest label map, pixels; more is "
        "refused.",
    )
    max_pages: Count = Field(10_000, description="Most pages of a TIFF; more is refused.")
    max_vertices: Count = Field(
        5_000_000,
        description="Most vertices in one annotation file, each outline counted as one at least; "
        "more is refused.",
    )
    max_crossings: Count = Field(
        200_000_000,
        description="How often the outlines of one annotation file may cross rows of pixels, as "
        "zigzags do; more is refused.",
    )
    max_cover: Positive = Field(
        50.0,
        description="Pixels of the boxes around all outlines of a file, in multiples of the "
        "image's (of 10,000,000 where it has less); more is refused.",
    )
    max_depth: Annotated[int, Field(ge=4, le=1000)] = Field(
        100, description="How deep the elements of an XML file may be nested; more is refused."
    )
    max_variables: Count = Field(
        10_000, description="Most variables of a MATLAB file; more is refused."
    )
    max_text_bytes: Count = Field(
        250_000_000,
        description="Largest sample sheet, and annotation as XML or GeoJSON, bytes; more is "
        "refused.",
    )
    decoder_memory: Annotated[int, Field(ge=50_000_000)] = Field(
        4_000_000_000,
        description="Memory that decoding a file may take beside the pixels that it announces, "
        "bytes; a file that unpacks to more is refused.",
    )
    max_fetched_bytes: Count = Field(
        100_000_000_000,
        description="Largest file that is fetched from a server, bytes; more is refused.",
    )
    server_seconds: Positive = Field(
        60.0,
        description="Longest silence of a server that slides are fetched from, seconds.",
    )
    min_piece_area: NonNegative = Field(
        4.0,
        description="A piece of a nucleus smaller than this (pixels at the working "
        "magnification) is dropped when the nucleus falls into several pieces.",
    )


# Of these, what only decides whether a file is read at all: a higher limit reads no slide again.
INGESTION_LIMITS = (
    "max_pixels",
    "max_pixels_whole",
    "max_pages",
    "max_vertices",
    "max_crossings",
    "max_cover",
    "max_depth",
    "max_variables",
    "max_text_bytes",
    "decoder_memory",
    "max_fetched_bytes",
    "server_seconds",
)


class PhantomSettings(Settings):
    """Slides that the package draws itself, for the demo and the tests."""

    size: Annotated[int, Field(ge=64)] = Field(512, description="Height and width, pixels.")
    mpp: Positive = Field(0.25, description="µm per pixel of the drawn slides.")
    train_per_organ: Count = Field(
        4, description="Training slides of breast, liver, kidney and prostate each (the method's)."
    )
    noise: NonNegative = Field(
        2.0, description="Standard deviation of the sensor noise, grey levels."
    )


class StainSettings(Settings):
    """Sparse stain separation and normalisation (Vahadane et al. 2016)."""

    normalize: bool = Field(
        True, description="False passes the images through as they are, but for black."
    )
    sparsity: NonNegative = Field(
        0.02,
        description="λ of the dictionary learning; the published example of Vahadane et al. uses "
        "0.02 and advises 0.01 to 0.1.",
    )
    concentration_sparsity: NonNegative = Field(
        0.02, description="λ of the concentrations, optical density."
    )
    luminance_threshold: Annotated[float, Field(gt=0, le=1)] = Field(
        0.9, description="Pixels brighter than this (L* / 100) are background, not tissue."
    )
    iterations: Annotated[int, Field(ge=1, le=100_000)] = Field(
        200, description="Steps of the dictionary learning."
    )
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        512, description="Pixels a step of the dictionary learning; fixed, so results repeat."
    )
    max_pixels: Annotated[int, Field(ge=1000, le=100_000_000)] = Field(
        100_000, description="Most tissue pixels that the stain matrix is estimated from."
    )
    percentile: Annotated[float, Field(gt=50, le=100)] = Field(
        99.0, description="Percentile of the concentrations that is matched to the reference."
    )
    max_angle: Positive = Field(
        20.0, description="A stain vector further than this (degrees) from the textbook one warns."
    )
    reference: str = Field(
        "auto",
        description="Slide whose stains all others get; auto takes those that the file of "
        "segmentation.start_from has learned, else the training slide whose stain matrix lies "
        "closest to the median of the training slides without warnings.",
    )


class PatchSettings(Settings):
    """The grid of training patches."""

    size: Annotated[int, Field(ge=16)] = Field(256, description="Height and width, pixels.")
    stride: Count = Field(
        248, description="Largest distance between neighbouring patches, pixels; 16 patches a tile."
    )
    most_unannotated: Count = Field(
        256,
        description="Most patches of a training slide without annotation, chosen at random from "
        "its tissue; they teach the CycleGAN alone, which sees every patch equally often.",
    )
    least_tissue: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5,
        description="Patches of such a slide with a smaller part of tissue than this are left "
        "out; annotated slides give all of theirs.",
    )


class PolygonSettings(Settings):
    """Random polygon label maps."""

    count: Count = Field(4650, description="Number of label maps; the method uses 4,650.")
    shards: Count = Field(6, description="Files, and jobs, that the maps are split into.")
    fit: bool = Field(
        True,
        description="Fit the parameters below, but `vertices` and `overlap`, to the nuclei of the "
        "training slides; where a single one is annotated, general ones may teach more.",
    )
    density: Positive = Field(
        40.0,
        description="Mean number of nuclei in a patch of 256×256 pixels; that of the 16 training "
        "tiles of Kumar et al. (2017), which have 20 to 122. Where large nuclei leave no room, a "
        "map has fewer.",
    )
    density_spread: NonNegative = Field(
        0.8, description="Standard deviation of the logarithm of the density between patches."
    )
    sparse_fraction: Fraction = Field(
        0.05, description="Fraction of patches with a tenth of the density."
    )
    area: Positive = Field(350.0, description="Median area of a nucleus, pixels.")
    area_spread: NonNegative = Field(
        0.5, description="Standard deviation of the logarithm of the area."
    )
    area_spread_between: NonNegative = Field(
        0.3, description="The same for the mean of a patch, between patches."
    )
    density_area_correlation: Annotated[float, Field(ge=-1, le=1)] = Field(
        -0.5,
        description="Correlation, between patches, of the logarithms of density and mean area: "
        "dense patches hold small nuclei.",
    )
    elongation: Annotated[float, Field(ge=1, le=MAX_ELONGATION)] = Field(
        1.35, description="Median ratio of major to minor axis."
    )
    elongation_spread: NonNegative = Field(
        0.25, description="Standard deviation of the logarithm of (elongation - 1 + 0.05)."
    )
    irregularity: Fraction = Field(
        0.08, description="Standard deviation of the radius around the ellipse, relative."
    )
    vertices: Annotated[int, Field(ge=5)] = Field(24, description="Vertices of a polygon.")
    overlap: Fraction = Field(
        0.05, description="Largest part of a new nucleus that may lie over earlier ones."
    )
    clustering: Fraction = Field(
        0.3, description="Fraction of nuclei placed beside an earlier one."
    )


class MaskSettings(Settings):
    """How label maps become images and come back; one choice for both networks."""

    encoding: Encoding = Field(
        "interior_boundary", description="Encoding of label maps as mask images."
    )
    boundary_width: Annotated[float, Field(gt=0, le=100)] = Field(
        1.5, description="Width of the boundary inside each nucleus, pixels."
    )


class DecodingSettings(Settings):
    """From mask probabilities to instances."""

    foreground: Fraction = Field(0.5, description="Probability above which a pixel is nucleus.")
    marker: Fraction = Field(
        0.5, description="Probability of the inside above which a pixel of a nucleus seeds one."
    )
    summit: Positive | None = Field(
        None,
        description="Split a seed whose probability has several summits, each higher than the "
        "saddle between them by this; null keeps it whole. For interior_boundary.",
    )
    peak: Fraction = Field(
        0.0,
        description="A nucleus without a pixel of at least this probability is dropped. For "
        "filled and interior_boundary.",
    )
    min_area: NonNegative = Field(
        20.0,
        description="Smaller objects are dropped, pixels; 20 are 1.25 µm² at 40×, and 5 µm² at "
        "20×.",
    )
    min_marker_area: NonNegative = Field(4.0, description="Smaller seeds are dropped, pixels.")


class GeneratorSettings(Settings):
    """An image-to-image network."""

    kind: Literal["resnet", "pix2pix_unet", "unet"] = Field(
        "resnet",
        description="resnet: CycleGAN's; pix2pix_unet: one strided convolution a level; unet: "
        "two convolutions a level with skips, which learns faster on few cores.",
    )
    width: Annotated[int, Field(ge=1, le=4096)] = Field(
        64, description="Channels of the first level (the released code)."
    )
    depth: Annotated[int, Field(ge=1, le=64)] = Field(
        9, description="Residual blocks (resnet) or levels (pix2pix_unet, unet)."
    )
    norm: Literal["instance", "batch", "group", "none"] = Field(
        "instance", description="Normalisation; instance keeps a tile's result free of its batch."
    )
    spectral_norm: bool = Field(False, description="Spectral normalisation of its convolutions.")
    upsampling: Literal["transposed", "resize"] = Field(
        "transposed",
        description="resnet: transposed convolutions (the released code), or resizing before a "
        "convolution, which draws no checkerboard.",
    )
    reduction: Literal[1, 2, 4] = Field(
        1,
        description="unet: squares of this side become channels inside the network; 2 makes it "
        "four times as fast at the same width.",
    )
    dropout: Fraction = Field(0.0, description="Dropout in the inner levels, training only.")

    def factor(self) -> int:
        """Heights and widths must be multiples of it, pixels."""
        if self.kind == "resnet":
            return 4
        if self.kind == "pix2pix_unet":
            return 2**self.depth
        return self.reduction * 2 ** (self.depth - 1)


class DiscriminatorSettings(Settings):
    """A PatchGAN discriminator."""

    width: Count = Field(64, description="Channels of the first layer (the released code).")
    layers: Count = Field(3, description="Strided layers; 3 gives a 70×70 pixel field of view.")
    norm: Literal["instance", "batch", "group", "none"] = Field(
        "none",
        description="Normalisation after its convolutions; none, as in the released code, since "
        "any other undoes the spectral one but in the first and the last layer.",
    )
    spectral_norm: bool = Field(
        True, description="Spectral normalisation of its convolutions (Mahmood et al. 2018)."
    )

    def least(self) -> int:
        """The smallest picture that it can judge, pixels: two layers follow the strided ones."""
        return 3 * 2**self.layers


class OptimiserSettings(Settings):
    """Adam and its schedule: constant, then linear to zero."""

    learning_rate: Positive = Field(
        2e-4, description="Of Adam, before the decay (Mahmood et al. 2018)."
    )
    beta1: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.5, description="First moment of Adam (the released code)."
    )
    beta2: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.999, description="Second moment of Adam (the released code)."
    )
    init_std: Positive = Field(
        0.02, description="Weights start from N(0, init_std²) (Mahmood et al. 2018)."
    )


class TrainingSettings(Settings):
    """What every training run needs."""

    epochs: Count = Field(
        300, description="Epochs (Mahmood et al. 2018); each has steps_per_epoch steps."
    )
    decay_from: Annotated[int, Field(ge=0)] = Field(
        150, description="Epochs at the full rate; it then falls linearly and ends above zero."
    )
    steps_per_epoch: Count | None = Field(
        None,
        description="Steps of an epoch; null is one pass over the patches of annotated "
        "training slides, and of a segmenter over its synthetic pairs as well.",
    )
    batch_size: Count = Field(1, description="Patches a step (the released code).")
    crop: Count = Field(256, description="Height and width of what the networks see, pixels.")
    average_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.999, description="Decay of the moving average of the weights a step; 0 keeps the last."
    )
    sample_every: Count = Field(
        10, description="Epochs between sample pictures, and a CycleGAN's looks at itself."
    )
    checkpoint_seconds: Positive = Field(
        60.0, description="Longest time between two checkpoints, seconds."
    )
    optimiser: OptimiserSettings = OptimiserSettings()

    @model_validator(mode="after")
    def _decay_inside(self) -> "TrainingSettings":
        if self.decay_from > self.epochs:
            raise ValueError(
                f"decay_from ({self.decay_from}) must not exceed epochs ({self.epochs})"
            )
        return self


class CycleGANSettings(TrainingSettings):
    """Masks to images and back, without pairs."""

    lambda_image: NonNegative = Field(
        70.0, description="λ_n, weight of the cycle of images (Mahmood et al. 2018)."
    )
    lambda_mask: NonNegative = Field(
        10.0, description="λ_m, weight of the cycle of masks (Mahmood et al. 2018)."
    )
    lambda_polarity: NonNegative = Field(
        0.0,
        description="Weight of a hinge that makes painted nuclei absorb more red than what "
        "surrounds them, as haematoxylin does; without it the cycle holds for inverted images as "
        "well. The method has none.",
    )
    lambda_spectrum: NonNegative = Field(
        0.0,
        description="Weight of the squared distance between the mean logarithms of the spectra of "
        "painted and real images (after Durall et al. 2020), which keeps woven patterns out of "
        "them; the method has none.",
    )
    lambda_nuclei: NonNegative = Field(
        0.0,
        description="Weight of the distance between the looks of painted nuclei and of annotated "
        "ones of the training slides: colour, how it differs from nucleus to nucleus, and "
        "chromatin. Without it, few steps paint all nuclei even and dark. Needs latent_channels of "
        "3 or more, and an even batch_size; the method has none.",
    )
    mask_noise: NonNegative = Field(
        0.0,
        description="Standard deviation of noise on generated masks before they are painted again, "
        "so that images cannot hide in them (Bashkirova et al. 2019); the method has none.",
    )
    slope_penalty: NonNegative = Field(
        0.0,
        description="Weight of the squared slope of the image discriminator at real images (R1, "
        "Mescheder et al. 2018), which keeps it from winning early, and the images from being "
        "woven patterns; the method has none.",
    )
    latent_channels: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Channels of random numbers beside the mask, half constant over an image, the "
        "others of each pixel and smooth in turn, so that one mask becomes many images; the method "
        "has none.",
    )
    choose_epoch: bool = Field(
        False,
        description="Keep the weights whose images, at the looks of the second half of the epochs, "
        "have the smallest kernel distance to training windows, instead of the last ones; short "
        "trainings end by chance in good images or bad ones. The method takes the last.",
    )
    pool_size: Annotated[int, Field(ge=0)] = Field(
        50,
        description="Generated pictures kept to show the discriminators again (Zhu et al. 2017).",
    )
    generator: GeneratorSettings = GeneratorSettings()
    discriminator: DiscriminatorSettings = DiscriminatorSettings()

    @model_validator(mode="after")
    def _looks_at_itself(self) -> "CycleGANSettings":
        if self.choose_epoch and self.crop < 16:
            raise ValueError(
                f"crop is {self.crop}, but choose_epoch compares windows of 16 pixels or more; "
                "make it 16 or more, or choose_epoch false"
            )
        return self

    @model_validator(mode="after")
    def _looks_of_nuclei(self) -> "CycleGANSettings":
        if self.lambda_nuclei and self.batch_size % 2:
            raise ValueError(
                f"batch_size is {self.batch_size}, but lambda_nuclei compares two images of each "
                "mask; make it even, or lambda_nuclei 0"
            )
        if self.lambda_nuclei and self.latent_channels < 3:
            raise ValueError(
                f"latent_channels is {self.latent_channels}, but lambda_nuclei needs random "
                "numbers by which nuclei can differ; make it 3 or more, or lambda_nuclei 0"
            )
        if self.lambda_nuclei and self.crop < 16:
            raise ValueError(
                f"crop is {self.crop}, but lambda_nuclei compares windows of 16 pixels; make it 16 "
                "or more, or lambda_nuclei 0"
            )
        return self


class SynthesisSettings(Settings):
    """Pairs made by the generator."""

    count: Count = Field(4650, description="Number of pairs; the method uses 4,650.")
    shards: Count = Field(6, description="Files, and jobs, that the pairs are split into.")
    batch_size: Count = Field(8, description="Maps a forward pass; shards are cut between batches.")
    judge_epochs: Count = Field(
        20,
        description="Epochs of the segmenter that learns from real slides alone and judges whether "
        "the images show their masks; of segmentation.steps_per_epoch steps, null being one pass "
        "over the real patches.",
    )


class JitterSettings(Settings):
    """Random changes of a training pair; targets are encoded after them and stay crisp."""

    resize: Count = Field(
        286, description="A patch of 256 is resized to this and cropped back (Mahmood et al. 2018)."
    )
    flip: bool = Field(True, description="Random flips and quarter turns.")
    scale: Range = Field((1.0, 1.0), description="Range of a random magnification.")
    rotate: bool = Field(False, description="Rotation by any angle.")
    stain: NonNegative = Field(
        0.0, description="Standard deviation of a random gain of each stain's concentration."
    )
    brightness: NonNegative = Field(0.0, description="Standard deviation of a random gain.")
    blur: NonNegative = Field(
        0.0, description="Largest standard deviation of a random blur, pixels."
    )


class SegmentationSettings(TrainingSettings):
    """The conditional GAN that segments."""

    epochs: Count = Field(
        400, description="Epochs (Mahmood et al. 2018); each has steps_per_epoch steps."
    )
    decay_from: Annotated[int, Field(ge=0)] = Field(
        200, description="Epochs at the full rate; it then falls linearly and ends above zero."
    )
    methods: tuple[str, ...] = Field(
        ("cgan",), min_length=1, description="Rows of the table of methods to train."
    )
    data: tuple[TrainingData, ...] = Field(
        ("both",),
        min_length=1,
        description="Training sets to train on: real, synthetic, both; real-4 or both-4 with 4 of "
        "the real slides, chosen at random.",
    )
    seeds: Seeds = Field((0,), min_length=1, description="Independent repeats.")
    synthetic_share: Fraction | None = Field(
        None,
        description="Part of each epoch drawn from synthetic pairs when data is both; null draws "
        "every pair equally often.",
    )
    synthetic_until: Fraction = Field(
        1.0,
        description="Part of the training after which only real pairs are drawn where data is "
        "both; needs a synthetic_share.",
    )
    minimum_agreement: Fraction = Field(
        0.0,
        description="Synthetic pairs are left out where the judge's segmentation of the image and "
        "the mask have a lower AJI; 0 takes all.",
    )
    adversarial: NonNegative = Field(1.0, description="Weight of the adversarial loss.")
    l1: NonNegative = Field(
        70.0, description="Weight of the pixel loss; the released command's 70."
    )
    dice: NonNegative = Field(0.0, description="Weight of a soft Dice loss.")
    cross_entropy: NonNegative = Field(0.0, description="Weight of a pixel cross-entropy.")
    boundary_weight: NonNegative = Field(
        0.0,
        description="How much more the pixels near a border of the mask count in `l1` and "
        "`cross_entropy`, since few pixels decide whether touching nuclei are split; 0 counts all "
        "alike.",
    )
    centres: NonNegative = Field(
        0.0,
        description="Weight of an L1 term on where the centre of each pixel's nucleus lies, which "
        "the network tells by a second last layer while it learns: nuclei that touch point away "
        "from each other; 0 does without.",
    )
    model: str = Field(
        "",
        description="Model file that is applied as it is: nothing is trained, magnification, "
        "stains and thresholds are the model's, and only slides of evaluation.splits are read; "
        "empty trains.",
    )
    start_from: str = Field(
        "",
        description="Model file whose weights a training starts from, to adapt a trained segmenter "
        "to further slides, with the stains of its reference, or to train it longer; empty starts "
        "from random ones. Baselines and the judge of synthetic pairs always do.",
    )
    validate_every: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Epochs between looks at the annotated slides of the split val, whose AJI (at "
        "the best of some thresholds) then stands in the history; 0 never looks.",
    )
    choose_epoch: bool = Field(
        False,
        description="Keep the weights of the look with the best AJI instead of the last; needs "
        "`validate_every` and such slides.",
    )
    pool_size: Annotated[int, Field(ge=0)] = Field(
        64,
        description="Past (image, mask) pairs kept to show the discriminator again (Mahmood et al. "
        "2018).",
    )
    generator: GeneratorSettings = GeneratorSettings(
        kind="pix2pix_unet", depth=8, dropout=0.5, norm="batch"
    )
    discriminator: DiscriminatorSettings = DiscriminatorSettings()
    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = Field(
        "resnet50", description="Of the method mask_rcnn (He et al. 2017)."
    )
    jitter: JitterSettings = JitterSettings()

    @model_validator(mode="after")
    def _order(self) -> "SegmentationSettings":
        if self.synthetic_until < 1 and self.synthetic_share is None:
            raise ValueError(
                f"synthetic_until ({self.synthetic_until:g}) needs a synthetic_share: which part "
                "of the pairs before it is synthetic"
            )
        if self.choose_epoch and not self.validate_every:
            raise ValueError("choose_epoch needs validate_every: epochs between looks")
        return self

    def uses_synthetic(self) -> bool:
        """Whether any training set has synthetic pairs, so that the CycleGAN is needed."""
        return not all(data.startswith("real") for data in self.data)


class BaselineSettings(Settings):
    """What the target `baselines` sets beside the methods of `segmentation`, trained like them."""

    methods: tuple[str, ...] = Field(
        ("classical", "cnn3", "fcn", "unet", "mask_rcnn", "dist"),
        description="Rows of the table of methods.",
    )
    data: tuple[TrainingData, ...] = Field(("real",), description="Training sets to train on.")
    seeds: Seeds = Field((0,), description="Independent repeats.")
    generator: GeneratorSettings = Field(
        GeneratorSettings(kind="unet", depth=5, norm="batch"),
        description="The network of unet and dist.",
    )

    @model_validator(mode="after")
    def _others(self) -> "BaselineSettings":
        if "cgan" in self.methods:
            raise ValueError(
                "methods names cgan, which the baselines are set beside; name it in "
                "segmentation.methods"
            )
        return self


class AblationSettings(Settings):
    """What the target `ablation` compares: training sets of the method `cgan`."""

    data: tuple[TrainingData, ...] = Field(
        ("real", "synthetic", "both", "real-4", "both-4", "real-1", "both-1"),
        description="Training sets; see segmentation.data. Several want a "
        "segmentation.steps_per_epoch.",
    )
    seeds: Seeds = Field((0, 1, 2), description="Independent repeats.")


class PredictionSettings(Settings):
    """How a trained segmenter goes over whole slides; a change does not train it again."""

    tile: Annotated[int, Field(ge=1, le=16384)] = Field(
        256, description="Tile of the segmentation of whole slides, pixels."
    )
    tile_overlap: Annotated[int, Field(ge=0)] = Field(
        64, description="Overlap of neighbouring tiles, pixels."
    )
    views: Literal[1, 2, 4, 8] = Field(
        1, description="Mirrored and turned views that are averaged."
    )
    scales: Annotated[
        tuple[Annotated[float, Field(ge=0.5, le=2)], ...], Field(min_length=1, max_length=4)
    ] = Field(
        (1.0,),
        description="Enlargements in which the network sees a tile; what it finds is averaged.",
    )
    shift: tuple[Shift, Shift] | None = Field(
        None,
        description="How far what is found is moved to the right and down, pixels, for annotations "
        "that lie beside their nuclei: mirrored and turned windows teach a network where nuclei "
        "are. The label maps of Kumar et al. 2017 lie half a pixel to the left and above. null "
        "moves nothing, or as far as the model says that segmentation.model names.",
    )
    least_tissue: Annotated[float, Field(ge=0, le=1)] = Field(
        0.001,
        description="A tile (for the classical method, a slide) with a smaller part of tissue than "
        "this is glass: no nuclei but those that a neighbour sees, and no work for the network.",
    )
    choose: bool = Field(
        True,
        description="Choose `foreground`, `marker`, `summit` and `peak` by the AJI of the "
        "annotated slides of the split val; without such slides, and where false, those below are "
        "used, or those of cnn3 and dist, which have their own.",
    )
    decoding: DecodingSettings = DecodingSettings()

    @model_validator(mode="after")
    def _tiles(self) -> "PredictionSettings":
        if self.tile_overlap >= self.tile:
            raise ValueError(f"tile_overlap ({self.tile_overlap}) must be below tile ({self.tile})")
        return self


class EvaluationSettings(Settings):
    """Which slides are judged."""

    splits: tuple[Literal["train", "val", "test"], ...] = Field(
        ("test",), description="Splits whose slides are segmented and, where annotated, judged."
    )


class ReportSettings(Settings):
    """What the report shows beside the main run."""

    comparisons: tuple[Literal["baselines", "ablation"], ...] = Field(
        (),
        description="Targets whose tables the start page shows as well; the report then needs "
        "their trainings.",
    )


class ComputeSettings(Settings):
    """Where and how the networks run."""

    device: Device = Field("auto", description="auto, cpu, cuda or cuda:N.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="auto takes bfloat16 where the machine multiplies it faster; an unfinished "
        "training goes on as it began.",
    )
    threads: Count = Field(
        2,
        description="CPU threads of each process of a network job; part of the result, so fixed "
        "here.",
    )
    processes: Count = Field(
        1,
        description="Processes that share each batch of a training, on each node: as many as it "
        "has GPUs.",
    )
    tensorboard: bool = Field(
        False,
        description="Write the losses of trainings for TensorBoard as well, in a folder "
        "`tensorboard` beside the history; wants the package tensorboardX.",
    )

    @model_validator(mode="after")
    def _one_each(self) -> "ComputeSettings":
        if self.device.startswith("cuda:") and self.processes > 1:
            raise ValueError(
                f"device is {self.device}, one GPU, but processes is {self.processes} and each "
                "takes one of its own; set the device to auto or cuda, or processes to 1"
            )
        return self


class Config(Settings):
    """The whole experiment."""

    slides: str = Field(
        "", description="Sample sheet (CSV), or `phantoms` to let the package draw its own slides."
    )
    validation: tuple[str, ...] = Field(
        (),
        description="Training slides that this run holds out as validation slides (split val), to "
        "choose thresholds and epochs on.",
    )
    annotated: tuple[str, ...] = Field(
        (),
        description="The training slides whose annotations this run uses; the images of the others "
        "teach the CycleGAN alone. None named: those of all that have one.",
    )
    data_licence: str = Field(
        "", description="Licence of the slides, written into the model files trained on them."
    )
    results: Folder = Field("results", description="Folder of all that is made.")
    seed: int = Field(0, ge=0, description="Seed of all random numbers.")
    compute: ComputeSettings = ComputeSettings()
    phantoms: PhantomSettings = PhantomSettings()
    ingestion: IngestionSettings = IngestionSettings()
    stain: StainSettings = StainSettings()
    patches: PatchSettings = PatchSettings()
    polygons: PolygonSettings = PolygonSettings()
    masks: MaskSettings = MaskSettings()
    cyclegan: CycleGANSettings = CycleGANSettings()
    synthesis: SynthesisSettings = SynthesisSettings()
    segmentation: SegmentationSettings = SegmentationSettings()
    baselines: BaselineSettings = BaselineSettings()
    ablation: AblationSettings = AblationSettings()
    prediction: PredictionSettings = PredictionSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    report: ReportSettings = ReportSettings()

    @model_validator(mode="after")
    def _across_sections(self) -> "Config":
        if self.synthesis.count > self.polygons.count:
            raise ValueError(
                f"synthesis.count ({self.synthesis.count}) must not exceed polygons.count "
                f"({self.polygons.count})"
            )
        for name in ("cyclegan", "segmentation"):
            crop = getattr(self, name).crop
            if crop > self.patches.size:
                raise ValueError(
                    f"{name}.crop ({crop}) must not exceed patches.size ({self.patches.size})"
                )
        self._check_networks()
        if self.slides == "phantoms" and self.patches.size > self.phantoms.size:
            raise ValueError(
                f"patches.size ({self.patches.size}) must not exceed phantoms.size "
                f"({self.phantoms.size})"
            )
        return self

    def _check_networks(self) -> None:
        """Sizes and batches that the networks cannot take would fail in the middle of a run."""
        # A model that is given trains nothing.
        painting = self.segmentation.uses_synthetic() and not self.segmentation.model
        if not self.segmentation.model:
            self._check_losses(painting)
            self._check_scales()
            self._check_baselines(self.segmentation.methods)
        self._check_training("segmentation", judged=self.segmentation.adversarial > 0)
        if painting:
            self._check_painting()

    def _check_training(
        self, name: Literal["segmentation", "cyclegan"], judged: bool, together: int = 1
    ) -> None:
        """The window and the batch of a training, of which ``together`` pairs are not parted."""
        section: SegmentationSettings | CycleGANSettings = getattr(self, name)
        self._check_size(f"{name}.crop", section.crop, name)
        judge = section.discriminator
        if judged and section.crop < judge.least():
            raise ValueError(
                f"{name}.crop ({section.crop}) must be {judge.least()} or more, for "
                f"{name}.discriminator has {judge.layers} layers; change either"
            )
        self._check_batch(name, section, section.generator, f"{name}.generator")
        number = together * self.compute.processes
        if section.batch_size % number:
            raise ValueError(
                f"{name}.batch_size ({section.batch_size}) must be a multiple of {number}, for "
                f"compute.processes is {self.compute.processes}; change either"
            )

    def check_painting(self) -> None:
        """Check the networks that paint, also where no training set of the run needs them.

        Raises
        ------
        NucleiganError
            One sentence, as of all checks.
        """
        with _one_sentence():
            self._check_painting()

    def _check_painting(self) -> None:
        # It paints whole patches.
        self._check_size("patches.size", self.patches.size, "cyclegan")
        if self.cyclegan.lambda_polarity and self.masks.encoding == "outline":
            raise ValueError(
                "cyclegan.lambda_polarity takes the first channel of a mask for the nuclei, which "
                f"masks.encoding: {self.masks.encoding} leaves hollow; set it to 0, or choose "
                "another encoding"
            )
        together = 2 if self.cyclegan.lambda_nuclei else 1
        self._check_training("cyclegan", judged=True, together=together)

    def check_compared(self, name: Literal["ablation", "baselines"]) -> None:
        """Check what a target trains that the run itself need not.

        Raises
        ------
        NucleiganError
            One sentence, as of all checks.
        """
        with _one_sentence():
            self._check_compared(name)

    def _check_compared(self, name: Literal["ablation", "baselines"]) -> None:
        compared = getattr(self, name)
        if not compared.data:
            raise ValueError(f"{name}.data is empty; name training sets to compare")
        several = len(set(compared.data)) > 1
        if name == "ablation" and several and self.segmentation.steps_per_epoch is None:
            raise ValueError(
                "segmentation.steps_per_epoch is empty, with which an epoch is one pass over each "
                "training set of ablation.data, and the larger sets would learn for more steps; "
                "name a number that all of them take"
            )
        if not self.segmentation.uses_synthetic():
            # With pairs, the networks that paint them are checked with all others.
            painting = self.segmentation.model_copy(update={"data": compared.data})
            self.model_copy(update={"segmentation": painting})._check_networks()
        if name == "baselines":
            self._check_baselines(self.baselines.methods)

    def _check_baselines(self, methods: Sequence[str]) -> None:
        """Methods of ``baselines.methods`` have a network of their own, whoever trains them."""
        if {"unet", "dist"} & set(methods) & set(self.baselines.methods):
            own = self.segmentation
            self._check_size("segmentation.crop", own.crop, "baselines")
            network = self.baselines.generator
            self._check_batch("segmentation", own, network, "baselines.generator")
        if "cnn3" in methods:
            self._check_cnn3()
        for method in methods:
            most = POOLED.get(method, 0)
            if self.segmentation.batch_size == 1 and self.segmentation.crop <= most:
                raise ValueError(
                    f"segmentation.crop ({self.segmentation.crop}) must be {most + 1} or more "
                    f"where segmentation.batch_size is 1, for the method {method} makes it a "
                    "single pixel, and that of one image has no spread that it could be normalised "
                    f"by; change either, or leave {method} out"
                )

    def _check_cnn3(self) -> None:
        if self.masks.encoding != "interior_boundary":
            raise ValueError(
                f"the method cnn3 knows inside and boundary, but masks.encoding is "
                f"{self.masks.encoding}; set it to interior_boundary, or leave cnn3 out"
            )
        if self.segmentation.crop <= CNN3_WINDOW:
            raise ValueError(
                f"segmentation.crop ({self.segmentation.crop}) must be {CNN3_WINDOW + 1} or more, "
                f"for the method cnn3 looks at windows of {CNN3_WINDOW} pixels; change it, or "
                "leave cnn3 out"
            )
        # It mirrors half a window beyond each border.
        smallest = self.prediction.tile * min(self.prediction.scales)
        if smallest <= CNN3_WINDOW // 2:
            raise ValueError(
                f"prediction.tile ({self.prediction.tile}) times the smallest of prediction.scales "
                f"must be {CNN3_WINDOW // 2 + 1} or more, for the method cnn3 looks at windows of "
                f"{CNN3_WINDOW} pixels; change either, or leave cnn3 out"
            )

    def _check_batch(
        self, name: str, section: TrainingSettings, network: GeneratorSettings, key: str
    ) -> None:
        alone = section.batch_size == 1 and section.crop == network.factor()
        if network.kind == "unet" and network.norm == "batch" and alone:
            raise ValueError(
                f"{name}.batch_size (1) must be 2 or more: {key}, a unet of depth "
                f"{network.depth}, makes {name}.crop ({section.crop}) a single pixel, and that of "
                "one image has no spread that it could be normalised by; change either"
            )

    def _check_losses(self, painting: bool) -> None:
        """What has no effect, or one that nobody wants."""
        own = self.segmentation
        # The method cgan learns by these, and so does the judge of synthetic pairs.
        used = painting or "cgan" in own.methods
        if used and not own.adversarial + own.l1 + own.dice + own.cross_entropy:
            raise ValueError(
                "segmentation.adversarial, l1, dice and cross_entropy are all 0, so that nothing "
                "would teach the mask; set one of them"
            )
        if used and own.boundary_weight and not own.l1 + own.cross_entropy:
            raise ValueError(
                f"segmentation.boundary_weight ({own.boundary_weight:g}) weighs the pixels of l1 "
                "and cross_entropy, which are both 0; set one of them, or it to 0"
            )

    def _check_scales(self) -> None:
        """An enlarged tile is rounded to what the network takes; it must stay that enlargement."""
        factor = self.segmentation.generator.factor()
        tile = -(-self.prediction.tile // factor) * factor
        for scale in self.prediction.scales:
            side = max(1, round(tile * scale / factor)) * factor
            if abs(side / (tile * scale) - 1) > ROUNDED:
                raise ValueError(
                    f"prediction.scales: {scale:g} of a tile of {tile} pixels would be rounded to "
                    f"{side}, a multiple of the {factor} by which segmentation.generator makes it "
                    "smaller; change either"
                )
            key = f"prediction.tile ({tile}) times {scale:g} of prediction.scales, in pixels"
            self._check_size(key if side != tile else "prediction.tile", side, "segmentation")

    def _check_size(self, key: str, size: int, name: str) -> None:
        network: GeneratorSettings = getattr(self, name).generator
        if size % network.factor():
            raise ValueError(
                f"{key} ({size}) must be a multiple of {network.factor()}, by which "
                f"{name}.generator, a {network.kind} of depth {network.depth}, makes it smaller; "
                "change either"
            )
        if network.kind == "unet" and network.norm == "instance" and size == network.factor():
            raise ValueError(
                f"{key} ({size}) must be {2 * size} or more: {name}.generator, a {network.kind} of "
                f"depth {network.depth}, makes it smaller by {size}, and a single pixel has no "
                "spread that it could be normalised by; change either"
            )
        if network.kind == "resnet" and size < 2 * network.factor():
            raise ValueError(
                f"{key} ({size}) must be {2 * network.factor()} or more, for {name}.generator, a "
                "resnet, mirrors its borders where it is a quarter as large; change either"
            )


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Inside, what a check across keys raises becomes one, as where a configuration is read."""
    try:
        yield
    except ValueError as error:
        raise NucleiganError(f"{error}.") from error


def validate(values: dict[str, Any], where: str = "configuration") -> Config:
    """Check plain values and return the configuration.

    Raises
    ------
    NucleiganError
        One sentence that names the key, what was found and what was expected.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise NucleiganError(f"{where}: {_sentence(error)}") from error


def load(*paths: str | Path) -> Config:
    """Read YAML files, later ones over earlier ones, and check the result."""
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            merged = _overlay(merged, read_yaml(path))
        except RecursionError as error:
            raise NucleiganError(
                f"{path}: holds itself through an alias, without end; write its values out."
            ) from error
    return validate(merged, " + ".join(str(path) for path in paths))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The values of a configuration file, unchecked.

    Raises
    ------
    NucleiganError
        The file is no YAML of keys and values, or names a key twice.
    """
    try:
        values = yaml.load(_text(path), _NoKeyTwice) or {}
    except NucleiganError:
        raise
    # The parser has no one error of its own: dates and deep nesting, too, raise what they like.
    except Exception as error:
        raise NucleiganError(
            f"{path}: cannot be read as YAML ({reason(error)}); correct it."
        ) from error
    if not isinstance(values, dict):
        raise NucleiganError(f"{path}: expected keys and values, found {type(values).__name__}.")
    return values


class _NoKeyTwice(yaml.SafeLoader):
    """Of a key that stands in a file twice YAML takes the last one, and forgets what it hides."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As its parent."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                raise ValueError(
                    f"`{shown(key.value)}` stands in line {lines[key.value]} and again in line "
                    f"{line}; write it once"
                )
            lines[key.value] = line
        return super().construct_mapping(node, deep)


def _text(path: str | Path) -> str:
    with Path(path).open("rb") as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise NucleiganError(
            f"{path}: has more than {LARGEST} bytes; expected a configuration, give its file."
        )
    return content.decode("utf-8-sig")


def _overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _overlay(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _sentence(error: ValidationError) -> str:
    sentences = []
    for problem in error.errors():
        key = shown(".".join(str(part) for part in problem["loc"]))
        if problem["type"] == "extra_forbidden":
            sentences.append(f"unknown key `{key}`{_suggestion(problem['loc'])}")
        elif key:
            expected = problem["msg"].removeprefix("Value error, ")
            # Of bounded length: aliases make a few lines of YAML into a text without end.
            found = shown(reprlib.repr(problem["input"]), 200)
            if problem["type"] == "tuple_type":
                expected = "expected a list; write [ and ] around it"
            if problem["type"] == "model_type":
                expected = "expected keys and values; leave it out where it is to have none"
            # Of a check across keys, which names what it is about.
            within = problem["type"] == "value_error" and isinstance(problem["input"], dict)
            said = f"`{key}`:" if within else f"`{key}` is {found};"
            sentences.append(f"{said} {_lower(expected)}")
        else:
            sentences.append(problem["msg"].removeprefix("Value error, "))
        if len(sentences) == MOST_FAULTS:
            break
    return "; ".join(sentences) + "."


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _suggestion(location: tuple[int | str, ...]) -> str:
    import difflib

    model: Any = Config
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return ""
        model = field.annotation
    names = list(getattr(model, "model_fields", {}))
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    hint = f"did you mean `{close[0]}`? " if close else ""
    return f"; {hint}it takes {', '.join(names)}"
