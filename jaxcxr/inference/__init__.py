"""From files and prepared datasets to probabilities and heat maps."""
