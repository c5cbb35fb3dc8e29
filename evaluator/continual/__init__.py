"""What a stream of worlds does to what was known before: from rows of `evaluations.jsonl` alone.

Data flow::

    rows ─► Stream: a(version, world), visits ─► tasks, world changes ─► Difference (linear in a) ─► scores

Definitions and sources: `docs/measures.md`, "Representation quality and continual metrics". Numpy only.
"""
