"""The time of this machine, as everything that is built here reads it."""

from agent.adapters.system_clock import SystemClock

CLOCK = SystemClock()
