"""Predictions: an image file -> an image such as MNIST's (handwriting) -> the digit in it."""
