"""The only construction site: settings in; adapters, store and engine joined to the ports; a world, or a running daemon, out.

One module per reason to build something; surfaces call their functions and nothing else of the house. Imports are lazy, so that
a fast command pays only for what it uses: `medic check` opens no store and no engine.
"""
