"""Training: losses, optimizers, the mapped steps, callbacks, checkpoints and `fit`."""
