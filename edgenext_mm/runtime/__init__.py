"""Predict by an exported file: numpy and the file's runtime, without PyTorch and OpenMMLab."""

from .predictor import Classification, Detections, Predictor, Segmentation

__all__ = ['Classification', 'Detections', 'Predictor', 'Segmentation']
