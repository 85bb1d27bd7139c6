"""The parts of a fleet, one ComponentResource a file. A part is given other parts, not their ids: the wiring is typed."""
