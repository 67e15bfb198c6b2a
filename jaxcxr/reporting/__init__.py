"""Figures, and the page that tells what runs were and how well they did."""
