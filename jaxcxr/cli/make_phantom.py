"""Draws a synthetic release in the layout of NIH ChestX-ray14, for work without the data.

jaxcxr make_phantom --out phantom --images 3000 --image_size 256 --seed 0

Writes images/*.png and the four metadata files. The radiographs are drawings: no score on them
means anything for patients.
"""

# isort: split
from pathlib import Path

from absl import flags

from jaxcxr.data.phantom import write_release

_OUT = flags.DEFINE_string("out", None, "Folder of the release.", required=True)
_IMAGES = flags.DEFINE_integer("images", 3000, "Number of radiographs.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 256, "Height and width in pixels, 64 to 1024.")
_SEED = flags.DEFINE_integer("seed", 0, "The same seed gives the same bytes.")
_JOBS = flags.DEFINE_integer("jobs", None, "Worker threads; as many as cores if not given.", 1)


def main() -> None:
    """Draws the release."""
    out = Path(_OUT.value)
    drawn = write_release(out, _IMAGES.value, _IMAGE_SIZE.value, _SEED.value, _JOBS.value)
    print(f"{out}: {_IMAGES.value} synthetic radiographs" + ("" if drawn else ", drawn earlier"))
