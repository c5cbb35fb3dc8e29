"""`engram cohort`: several learners on one stream at the same time."""
