"""Exports: a candidate -> its weights -> predictions of the test digits -> the folder's files."""
