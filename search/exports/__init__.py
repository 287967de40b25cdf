"""Exports: a candidate -> its weights -> readings of the test digits -> the files of a folder."""
