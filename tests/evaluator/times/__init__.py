"""Times of memory and forgetting: hand-computed examples, and what cannot be measured."""
