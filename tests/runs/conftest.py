"""The tiny network as a fixture."""

from tests.tiny import tiny_model  # noqa: F401
