"""Networks that turn an image into the feature maps of their stages."""
