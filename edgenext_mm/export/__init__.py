"""Models for other runtimes: one file each, from the image to the answer."""
