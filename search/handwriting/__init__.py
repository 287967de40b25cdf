"""Handwriting: image files as MNIST would show them, and the digits that a network sees there."""
