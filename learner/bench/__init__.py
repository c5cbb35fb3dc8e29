"""How fast the training step is, on any machine that has torch: neither Ray nor Redis, nor pamiq-core, is asked for.

`engram bench learner` is this with flags. Where only torch is installed, from the root of the repository:

    python -c "from learner.bench import *; print(report(bench(of_preset('vit_l16', official='ijepa'))))"
"""

from learner.bench.case import LearnerBench, Line, Outcome, of_preset
from learner.bench.compare import bench
from learner.bench.report import report

__all__ = ["LearnerBench", "Line", "Outcome", "bench", "of_preset", "report"]
