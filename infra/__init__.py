"""WHERE: the Pulumi program that makes the fleet which Medic keeps well. Start at `program.py`.

`inventory`, `settings`, `prices`, `policies` and `cloud_init` import no Pulumi: the agent and its commands read them too.
"""
