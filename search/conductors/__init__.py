"""Conductors: a command's whole run (searching, confirming, training), its progress and summary."""
