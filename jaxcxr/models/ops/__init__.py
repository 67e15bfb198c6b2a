"""Layers and array operations that the networks share."""
