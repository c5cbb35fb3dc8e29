"""Keeper and drawer by the names that the configuration gives them: the one place to enter a new strategy."""

from common.config import Draw, Keep, ReplayConfig
from learner.replay.draw import Drawer, LossPrioritised, NewestMix, Rehearsal, Uniform
from learner.replay.keep import Fifo, Keeper, LogAge, RandomReplacement, Reservoir, TwoTier
from learner.replay.minred import MinRed


def keeper_of(config: ReplayConfig, *, dim: int, seed: int) -> Keeper:
    """Makes the keeper.

    Args:
        config: Capacity, `keep` and its settings.
        dim: Width of the features that training will tell of.
        seed: Of its random choices.
    """
    match config.keep:
        case Keep.FIFO:
            return Fifo(config.capacity)
        case Keep.RESERVOIR:
            return Reservoir(config.capacity, seed=seed)
        case Keep.RANDOM_REPLACEMENT:
            return RandomReplacement(config.capacity, survival=config.survival, seed=seed)
        case Keep.TWO_TIER:
            return TwoTier(config.capacity, newest=config.newest_frames, seed=seed)
        case Keep.MINRED:
            return MinRed(config.capacity, dim=dim)
        case Keep.LOG_AGE:
            return LogAge(config.capacity)


def drawer_of(config: ReplayConfig, *, seed: int) -> Drawer:
    """Makes the drawer.

    Args:
        config: Capacity, `draw` and its settings.
        seed: Of the draws.
    """
    match config.draw:
        case Draw.UNIFORM:
            return Uniform(seed=seed)
        case Draw.LOSS_PRIORITISED:
            return LossPrioritised(config.capacity, exponent=config.priority_exponent, seed=seed)
        case Draw.NEWEST_MIX:
            return NewestMix(newest=config.newest_frames, share=config.newest_share, seed=seed)
        case Draw.REHEARSAL:
            return Rehearsal(
                config.capacity,
                share=config.rehearsed,
                times=config.rehearsal_times,
                frames=config.rehearsal_frames,
                seed=seed,
            )
