"""Logs of real servers that were broken for real; `python -m tests.lab.logs` makes them anew."""
