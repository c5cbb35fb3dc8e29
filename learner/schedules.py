"""Learning rate, weight decay and target momentum as functions of the step alone: nothing to save, nothing to resume.

`step` counts optimiser steps from 0: the values are those of the step that comes next. The first step has the first
value. I-JEPA's own code counts a step before it looks up its cosines, so that its learning rate after the warm-up and
its weight decay are one step ahead of these; its warm-up and its target momentum are the same.
"""

import math

from common.config.optim import EmaSchedule, OptimConfig, Schedule


def learning_rate(config: OptimConfig, step: int) -> float:
    """Linear warm-up, then what `schedule` says.

    constant   lr
    cosine     final + (lr − final) · (1 + cos π p) / 2,   p from 0 after the warm-up to 1 at total_steps
    wsd        lr, and over the last decay_steps in a straight line to final
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    final = config.lr * config.final_lr
    match config.schedule:
        case Schedule.CONSTANT:
            return config.lr
        case Schedule.COSINE:
            return final + (config.lr - final) * _half_cosine(step - config.warmup_steps, _after_warmup(config))
        case Schedule.WSD:
            left = (config.total_steps - step) / config.decay_steps
            return final + (config.lr - final) * min(1.0, max(0.0, left))


def weight_decay(config: OptimConfig, step: int) -> float:
    """From `weight_decay` along half a cosine to its `weight_decay_growth`-fold at `total_steps`."""
    if config.weight_decay_growth == 1:
        return config.weight_decay
    final = config.weight_decay * config.weight_decay_growth
    return final + (config.weight_decay - final) * _half_cosine(step, config.total_steps)


def target_momentum(config: OptimConfig, step: int, elapsed: float) -> float:
    """Momentum of the target encoder.

    Args:
        config: Which schedule.
        step: The step that comes next, from 0.
        elapsed: System time since the step before, seconds.
    """
    match config.ema_schedule:
        case EmaSchedule.CONSTANT:
            return config.ema
        case EmaSchedule.LINEAR:
            return config.ema + (config.final_ema - config.ema) * min(1.0, step / config.total_steps)
        case EmaSchedule.STEPS:
            return 0.5 ** (1 / config.ema_half_life)
        case EmaSchedule.SECONDS:
            return 0.5 ** (elapsed / config.ema_half_life)


def _after_warmup(config: OptimConfig) -> int:
    return config.total_steps - config.warmup_steps


def _half_cosine(done: int, length: int) -> float:
    """Falls from 1 to 0 over `length` steps, and stays there."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done / length)))
