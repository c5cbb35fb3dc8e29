"""The frames that are trained on: which are kept (`keep`, `minred`), which are drawn (`draw`), and where (`buffer`).

`strategies` makes both from the configuration. The two know nothing of each other; what they need, the buffer tells
them: the number of each frame, what the step found about it, and that a slot holds another frame now.
"""

from learner.replay.buffer import Batch, ReplayBuffer, staleness_weight
from learner.replay.draw import Drawer, LossPrioritised, NewestMix, Rehearsal, Uniform
from learner.replay.keep import Fifo, Keeper, LogAge, RandomReplacement, Reservoir, TwoTier, replace_probability
from learner.replay.minred import MinRed

__all__ = [
    "Batch",
    "Drawer",
    "Fifo",
    "Keeper",
    "LogAge",
    "LossPrioritised",
    "MinRed",
    "NewestMix",
    "RandomReplacement",
    "Rehearsal",
    "ReplayBuffer",
    "Reservoir",
    "TwoTier",
    "Uniform",
    "replace_probability",
    "staleness_weight",
]
