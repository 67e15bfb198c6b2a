"""Scores of probabilities and boxes from any system: arrays and tables in, numbers out."""
