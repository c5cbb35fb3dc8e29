"""`engram report OUT`: one page, figures, tables and data of a study of many trials.

Data flow::

    study.json ─► Design ──┐
    trial.json ─► Trial ───┼─► blocks (what may be pooled) ─► Condition (one variant on one set of streams)
    evaluations.jsonl ─────┘        ├─► Findings: times, curves, scores of each trial     (each file is read once)
                                    └─► fits, ranking, cautions ─► figures, tables, data, page

What must not be put together is not: `blocks` decides, all others ask it.
"""
