"""The folder of a run: its settings, checkpoints, lock and signals."""
