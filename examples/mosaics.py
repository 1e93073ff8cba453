"""Pictures of several garments: what two lessons of losses look at."""

from __future__ import annotations

import numpy as np


def mosaics(
    images: np.ndarray, labels: np.ndarray, number: int, most: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures with several garments: from one to `most` of them, in quarters drawn at random.

    Args:
        images, labels: uint8 (n, 28, 28) and (n,), of which garments are drawn.
        number: how many pictures.
        most: garments in a picture, up to 4.
        seed: of what is drawn.

    Returns:
        Pictures, uint8 (number, 56, 56); and the classes of their quarters, from the left and the
        top, int32 (number, 2, 2), −1 where a quarter is empty.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(images), (number, 2, 2))
    # Which quarters come first, of which as many are kept as there are garments.
    rank = rng.permuted(np.tile(np.arange(4), (number, 1)), axis=1).reshape(number, 2, 2)
    kept = rank < rng.integers(1, most + 1, (number, 1, 1))
    quarters = images[chosen] * kept[..., None, None].astype("uint8")
    pictures = quarters.transpose(0, 1, 3, 2, 4).reshape(number, 56, 56)
    return pictures, np.where(kept, labels[chosen].astype("int32"), -1)
