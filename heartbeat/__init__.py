"""WHEN. A leaf: APScheduler and the standard library only; it never imports `agent`."""
