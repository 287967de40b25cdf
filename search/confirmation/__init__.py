"""Confirmation: which designs are confirmed, and their final runs on fresh seeds."""
