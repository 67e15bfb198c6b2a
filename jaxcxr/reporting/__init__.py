"""Figures, terminal tables, and the HTML report about runs and their scores."""
