"""Figures, and the page about runs and their scores."""
