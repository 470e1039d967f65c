"""nucleigan: from raw histopathology slides to nuclei segmentations.

The package never imports snakemake; every public function takes arrays, paths and plain values.
"""

__version__ = "0.1.0"
