"""Studies: many runs on the same recorded streams, and what they say together.

    study.yaml ─► Study ─► Trials (conditions × seeds) ─► Schedule on Ray ─► trial directories ─► report

`engram sweep` does the trials, `engram report` reads them. What a trial computes depends on its configuration and its
recording alone, never on how fast the machine is or what else it does.
"""
