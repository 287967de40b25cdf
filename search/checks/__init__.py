"""Checks: a target -> loaded and audited in a process of its own (inspection) -> verdicts."""
