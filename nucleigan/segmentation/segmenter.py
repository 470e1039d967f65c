"""A trained segmenter as one file: load it, give it an image, get the nuclei."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nucleigan import masks
from nucleigan.config import (
    ComputeSettings,
    DecodingSettings,
    MaskSettings,
    PredictionSettings,
    StainSettings,
)
from nucleigan.errors import NucleiganError, let_through, shown
from nucleigan.masks.streaming import Nucleus, decode_bands, nuclei_of
from nucleigan.models.header import SEGMENTER, check_kind
from nucleigan.models.methods import load_method
from nucleigan.models.weights import read_weights
from nucleigan.progress import progress
from nucleigan.segmentation.tiles import TILE, joined, learned_tile, moved, predict, predict_bands
from nucleigan.slides.resample import resample_image, resample_labels, scaled_shape
from nucleigan.slides.sheet import check_mpp
from nucleigan.slides.tissue import MOST_BLACK, black_part, tissue_mask, whitened
from nucleigan.training import compute as computing
from nucleigan.windows import Picture


class Segmenter:
    """A network with its mask encoding, magnification, stain reference and thresholds.

    Made by :meth:`load`.
    """

    def __init__(
        self, tensors: dict[str, Any], facts: dict[str, Any], compute: computing.Compute
    ) -> None:
        self.facts = facts
        check_mpp(float(facts["mpp"]), "its facts")
        self.stain_settings = StainSettings(**facts["stain"])
        if facts["stain_reference"] is not None:
            _check_reference(facts["stain_reference"])
        self.compute = compute
        self.mask_settings = MaskSettings(**facts["masks"])
        # Freshly trained weights name neither thresholds nor tiles yet.
        crop = facts.get("training", {}).get("settings", {}).get("crop", TILE)
        fresh = {"tile": learned_tile(int(crop))}
        self.prediction = PredictionSettings(**facts.get("prediction", fresh))
        self.method = load_method(facts["method"])
        if self.method.network is not None:
            _check_shapes(self.method.network, facts, tensors)
            self.network = self.method.network(facts).eval()
            self.network.load_state_dict(tensors)
            self.network.to(compute.device).to(memory_format=computing.CHANNELS_LAST)

    @classmethod
    def load(cls, path: str | Path, compute: ComputeSettings | None = None) -> "Segmenter":
        """Read a model file.

        Parameters
        ----------
        path
            ``model.safetensors`` of a training run.
        compute
            Device, precision and threads; automatic by default.

        Raises
        ------
        NucleiganError
            The file is missing, damaged, or no segmenter.
        """
        tensors, facts = read_weights(path)
        check_kind(path, facts, SEGMENTER)
        prepared = computing.prepare(compute or ComputeSettings())
        try:
            return cls(tensors, facts, prepared)
        # A stranger's facts may be of any type, and fail anywhere.
        except Exception as error:
            let_through(error)
            raise NucleiganError(
                f"{path}: its weights do not fit the network it names ({shown(str(error), 300)}); "
                "it was made by another version: train it again."
            ) from error

    def segment(
        self, image: np.ndarray, mpp: float | None = None, normalize: bool = True
    ) -> np.ndarray:
        """Find the nuclei of an image.

        Parameters
        ----------
        image
            (H, W, 3) uint8.
        mpp
            µm per pixel of the image; None takes the model's. Another magnification is resampled
            for the network, and the label map back to the image's size.
        normalize
            Bring the stains to the model's reference first; False for images that are already.

        Returns
        -------
        (H, W) int32: 0 background, nuclei from 1.
        """
        _check_image(image)
        size = image.shape[:2]
        if mpp is not None:
            check_mpp(mpp, "the image")
            factor = mpp / float(self.facts["mpp"])
            image = resample_image(image, scaled_shape(size, factor))
        if normalize:
            image = self.normalizer(image)(image)
        labels = self.decode(self.predict(image), self.prediction.decoding)
        return resample_labels(labels, size)

    def predict(self, image: np.ndarray) -> np.ndarray:
        """The mask (C, H, W) in [-1, 1] of a normalised image at the model's magnification."""
        if self.method.predict is not None:
            mask = torch.from_numpy(self.method.predict(image, self.facts))
            if tissue_mask(image).mean() < self.prediction.least_tissue:
                mask.fill_(-1)
            return moved(mask[None], self.shift)[0].numpy()
        return predict(self.network, image, self.compute, **self._tiles)

    def segment_bands(self, image: Picture) -> Iterator[tuple[np.ndarray, list[Nucleus]]]:
        """Find the nuclei of a slide in bands of rows, so that it need not fit into memory.

        Methods and encodings that need all of a slide at once read it as a whole.

        Parameters
        ----------
        image
            (H, W, 3) uint8, normalised, at the model's magnification.

        Yields
        ------
        Rows of the label map from top to bottom, (h, W) int32, and the nuclei that begin in them.
        """
        if self.method.predict is not None:
            yield self._decoded(self.predict(image[:, :]))
            return
        height = image.shape[0]
        bands = predict_bands(self.network, image, self.compute, **self._tiles)
        bands = progress(bands, height, "rows segmented", lambda band: band.shape[1])
        if isinstance(image, np.ndarray) or self.needs_whole:
            yield self._decoded(joined(bands, height))
        else:
            yield from decode_bands(bands, self.prediction.decoding)

    @property
    def needs_whole(self) -> bool:
        """Whether the method or its encoding needs all of a slide at once."""
        banded = self.method.predict is None and self.method.decode is masks.decode
        return not banded or self.mask_settings.encoding != "interior_boundary"

    def _decoded(self, mask: np.ndarray) -> tuple[np.ndarray, list[Nucleus]]:
        labels = self.decode(mask, self.prediction.decoding)
        return labels, nuclei_of(labels)

    @property
    def shift(self) -> tuple[float, float]:
        """How far what is found is moved to the right and down, pixels."""
        return self.prediction.shift or (0.0, 0.0)

    @property
    def _tiles(self) -> dict[str, Any]:
        return {
            "tile": self.prediction.tile,
            "overlap": self.prediction.tile_overlap,
            "views": self.prediction.views,
            "scales": self.prediction.scales,
            "shift": self.shift,
            "least_tissue": self.prediction.least_tissue,
        }

    @property
    def markers(self) -> tuple[tuple[float, float | None], ...]:
        """Thresholds ``marker`` and ``summit`` worth trying; none where masks have no markers."""
        return self.method.markers_of(self.mask_settings)

    def decode(self, mask: np.ndarray, decoding: DecodingSettings) -> np.ndarray:
        """The label map (H, W) int32 of such a mask."""
        return self.method.decode(mask, self.mask_settings, decoding)

    def normalizer(
        self, image: Picture, warn: Callable[[str], object] = warnings.warn
    ) -> Callable[[np.ndarray], np.ndarray]:
        """What gives parts of a slide the stains of the model's reference.

        Parameters
        ----------
        image
            The slide, (H, W, 3) uint8; its stains are estimated from all of it.
        warn
            Is told where the estimate is doubtful, as of an image with hardly any tissue.
        """
        if self.facts["stain_reference"] is None:
            return whitened if black_part(image) > MOST_BLACK else lambda part: part
        # Imported late: SPAMS is not needed for images that are normalised already.
        from nucleigan.stain import StainProfile, estimate_stains, normalize

        reference = StainProfile.from_dict(self.facts["stain_reference"])
        source = estimate_stains(image, self.stain_settings)
        for doubt in source.warnings:
            warn(f"stains: {doubt}")
        return lambda part: normalize(part, source, reference, self.stain_settings)


def _check_shapes(
    build: Callable[[dict[str, Any]], nn.Module],
    facts: dict[str, Any],
    tensors: dict[str, torch.Tensor],
) -> None:
    """Refuse weights of another network before one of the size that a file claims is built."""
    with torch.device("meta"):
        network = build(facts)
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise ValueError(
                f"{name}: shape {_shape(found.get(name))}, expected {_shape(wanted.get(name))}"
            )


def _check_reference(values: dict[str, Any]) -> None:
    for key, shape in (("matrix", (2, 3)), ("percentiles", (2,))):
        found = np.array(values[key], np.float64)
        if found.shape != shape or not np.isfinite(found).all():
            raise ValueError(f"stain_reference.{key} is no finite array of shape {shape}")
    float(values.get("black", 0))


def _shape(shape: torch.Size | None) -> str:
    return "none" if shape is None else str(tuple(shape))


def _check_image(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise NucleiganError(
            f"the image is {image.dtype} of shape {image.shape}; expected uint8 of shape "
            "(height, width, 3): read it with nucleigan.slides.read_image."
        )
