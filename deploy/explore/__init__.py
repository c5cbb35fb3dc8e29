"""`engram explore`: lives of agents on a virtual clock, as fast as they can be computed, to compare where they get."""
