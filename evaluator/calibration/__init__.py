"""Runs with planted times, written as rows of the real kind and taken through the real chain: does it find them again?

Data flow::

    Plan, Noise ─► simulate ─► rows ─► evaluator.times ─► estimates ─► against what was planted: bias, coverage
"""
