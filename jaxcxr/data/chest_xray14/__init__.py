"""ChestX-ray14 as a TFDS dataset."""
