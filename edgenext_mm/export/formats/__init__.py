"""A module for each format, with a function ``write``."""
