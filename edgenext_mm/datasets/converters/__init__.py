"""Conversion of the masks of other datasets to the format of Pascal VOC."""
