"""WHAT Medic does: look, diagnose, choose a runbook, apply it, look again, hand over. Start at `agent/heal.py`."""
