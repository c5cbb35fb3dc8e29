"""`engram probe`: grades a frozen encoder offline, with progress, an early estimate of the time, and a file of results.

weights of any kind ─► Network ─► target encoder ─┬─ pictures   ─► cached features ─► ijepa, fast
└─ recording ─► features, by visit ─► reconstruct, predict
"""
