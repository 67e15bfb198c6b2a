"""A page in the browser: radiographs of one's own, or scored test radiographs, with heat maps."""
