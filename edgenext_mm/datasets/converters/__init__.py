"""From the formats of other datasets to those that the configs read."""
