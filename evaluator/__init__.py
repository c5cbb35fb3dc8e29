"""Measures what a weights version knows: probes, loss of experiences, health. Plain objects over numpy and torch."""
