"""The `medic` command: one command per file. Surfaces reach the world through `agent/wiring/` only."""
