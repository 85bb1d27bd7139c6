"""Stand-ins: an engine that does what `pulumi up` does, and moto behind it in place of AWS. Neither is the real thing.

`engine` speaks Pulumi's own protocol to the unmodified program; `cloud` carries each resource out with boto3 on a moto server;
`moto_more` fills what moto leaves out (hooks that hold, spot, events). What moto cannot keep is kept by `cloud` and named there.
"""
