"""Writes what predictors make of a batch on three simulated devices; started by a test.

A program of its own because the number of CPU devices is fixed when JAX starts.
"""

import sys

import jax

jax.config.update("jax_num_cpu_devices", 3)

import numpy as np  # noqa: E402

from jaxcxr.inference.spreading import spread_over_devices  # noqa: E402
from tests.inference.test_spreading import IMAGES, outputs  # noqa: E402

rows = []


def first_row(variables, images):
    rows.append(len(images))  # as JAX traces it, for one device
    return (images[:, 0] + variables,)


(spread,) = spread_over_devices(first_row)(np.float32(1), IMAGES)
np.savez(sys.argv[1], rows=rows, spread=spread, **outputs())
