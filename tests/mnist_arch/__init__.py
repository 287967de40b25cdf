"""Tests of `mnist_arch`, one file for each of its modules."""
