"""How long until an experience is memorised and until it is forgotten: from rows of `evaluations.jsonl` alone.

Data flow::

    rows ─► Run, Study ─► contrasts ─► threshold θ ─► events (T_mem, T_forget, …) ─► survival, curve ─► Summary

Definitions and sources: `docs/measures.md`, "Memory and forgetting: contrasts, times, statistics". Numpy and scipy;
neither torch nor ray.
"""
