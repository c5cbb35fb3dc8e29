"""The measurements of experiences one after another, and the first of m consecutive ones of which something holds.

Schedules measure experiences at different versions; "consecutive" means consecutive measurements of that experience.

Shapes: N experiences, V versions, L most measurements of an experience.
"""

from dataclasses import dataclass

import numpy as np

from evaluator.times.study import Flags, Floats, Numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """Values at an experience's own measurements, packed to the left.

    Attributes:
        value_NL: Value; NaN behind the last measurement.
        column_NL: Column of the version at which it was measured.
        count_N: Measurements of each experience.
    """

    value_NL: Floats
    column_NL: Numbers
    count_N: Numbers

    @classmethod
    def of(cls, value_NV: Floats) -> "Series":
        """Packs what is not NaN, in the order of the versions."""
        known_NV = ~np.isnan(value_NV)
        count_N = known_NV.sum(axis=1)
        length = int(count_N.max(initial=0))
        column_NL = np.argsort(~known_NV, axis=1, kind="stable")[:, :length]
        behind_NL = np.arange(length) >= count_N[:, None]
        value_NL = np.where(behind_NL, np.nan, np.take_along_axis(value_NV, column_NL, axis=1))
        return cls(value_NL=value_NL, column_NL=column_NL, count_N=count_N)

    def pack(self, flag_NV: Flags) -> Flags:
        """Takes a flag of each version at the same measurements; False behind the last."""
        inside_NL = np.arange(self.column_NL.shape[1], dtype=np.int64) < self.count_N[:, None]
        return np.logical_and(np.take_along_axis(flag_NV, self.column_NL, axis=1), inside_NL)


def run_maxima(value_NL: Floats, m: int) -> Floats:
    """Greatest level that m consecutive measurements all reach: float64 [N], NaN with fewer than m measurements.

    The first of m consecutive values ≥ θ exists just if this is ≥ θ.
    """
    if value_NL.shape[1] < m:
        return np.full(len(value_NL), np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(value_NL, m, axis=1).min(axis=-1)
    return np.fmax.reduce(windows, axis=1)


def first_run(holds_NL: Flags, m: int) -> Numbers:
    """Place of the first of m consecutive measurements of which it holds: int64 [N], −1 where there is none."""
    if holds_NL.shape[1] < m:
        return np.full(len(holds_NL), -1, np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(holds_NL, m, axis=1).all(axis=-1)
    return np.where(windows.any(axis=1), windows.argmax(axis=1), -1)
