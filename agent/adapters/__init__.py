"""One outside world per file: each adapter provides a port of `agent/ports.py` and is the only importer of its vendor."""
