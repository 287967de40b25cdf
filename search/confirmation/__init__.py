"""Confirmation: finalists -> runs on fresh seeds (worker, final) -> statistics, tables -> words."""
