"""Medic measured against its budgets: `make bench`."""
