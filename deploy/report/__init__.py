"""`engram report`: one page that shows what a run remembered, forgot and learned, and says how to read it.

Data flow::

    config, events, metrics, evaluations ─► Material ─┬─► facts, heat, curves, survival, worlds, tables, probes, health
    newest checkpoint, probe set ─► Seen ─────────────┴─► attention, neighbours         (each gives one Section)
                                                           └─► page ─► report/report.html

A section paints its figures on a `Canvas` once for a wide and once for a narrow screen; colours are CSS variables, so
one drawing serves light and dark.
"""
