"""What the stains of H&E look like in general."""

import numpy as np

# Optical densities of red, green and blue as unit rows, haematoxylin and eosin: the reference of
# Macenko et al. 2009. The stains of the 30 Kumar tiles lie 4° and 6° from it on average, but 11°
# and 28° from the vectors of Ruifrok & Johnston 2001, whose eosin holds almost no blue.
_MACENKO = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
TEXTBOOK = _MACENKO / np.linalg.norm(_MACENKO, axis=1, keepdims=True)
