"""Ready-made configurations, each a function: `demo`, pamiq-vrchat's sizes, and the paper's."""

from collections.abc import Callable
from dataclasses import replace

from common.config.curiosity import CuriosityConfig, DynamicsConfig, PolicyConfig, Reward
from common.config.learner import LearnerConfig
from common.config.model import ModelConfig
from common.config.optim import OptimConfig
from common.config.replay import Draw, Keep, ReplayConfig
from common.config.run import RunConfig, WorldConfig
from common.errors import ConfigError


def demo() -> RunConfig:
    """Ten minutes on a laptop's CPU: a small network on 96×96 frames of six Freedoom maps.

    The colour statistics are those of 1200 frames of these maps. Learning rate, momentum, what the buffer keeps, the
    regulariser's target and the crops came out best on recorded streams of them (docs/recipes.md).
    """
    model = ModelConfig(pixel_mean=(0.175, 0.157, 0.147), pixel_std=(0.118, 0.110, 0.115))
    optim = OptimConfig(lr=1e-3, ema=0.99, std_target=0.5, crop=0.3)
    return RunConfig(learner=LearnerConfig(model=model, optim=optim, replay=ReplayConfig(keep=Keep.TWO_TIER)))


def control() -> RunConfig:
    """The positive control: what is rehearsed must be found memorised, and once it is dropped, forgotten.

    One experience in ten is drawn fifty times as often as the others for a minute, and then never again. To be able
    to know single moments so soon, the network is small and sees whole frames hundreds of times; it is no good encoder.
    """
    run = demo()
    model = replace(run.learner.model, dim=96, depth=3, heads=3, predictor_dim=96, predictor_depth=3, predictor_heads=3)
    replay = ReplayConfig(capacity=512, draw=Draw.REHEARSAL, rehearsal_frames=500, replay_ratio=40.0)
    optim = replace(run.learner.optim, batch_size=32, crop=1.0)
    return replace(
        run,
        duration=1200.0,
        world=replace(run.world, visit=120.0),
        actors=replace(run.actors, count=1),
        stream=replace(run.stream, experience=5.0),
        learner=replace(run.learner, model=model, optim=optim, replay=replay),
    )


def curious() -> RunConfig:
    """The demo's encoder in the heads of four curious actors, in ten Freedoom maps, for an hour on two cores.

    An action is held for four frames, and each head for more than that: at ten frames a second, what a tenth of a
    second changes is mostly noise, and an hour has few decisions to learn from.
    """
    run = demo()
    worlds = (*run.world.worlds, "freedoom2:map02", "freedoom2:map07", "freedoom1:e1m3", "freedoom1:e2m2")
    return replace(
        run,
        duration=3600.0,
        world=replace(run.world, worlds=worlds),
        actors=replace(run.actors, count=4, agent="curious"),
        curiosity=CuriosityConfig(
            reward=Reward.NOVELTY,
            rollout=32,
            hold=4,
            keep=0.4,
            dynamics=DynamicsConfig(dim=128),
            policy=PolicyConfig(lr=1e-3, gamma=0.7, gae_lambda=0.9, epochs=6, entropy=0.05),
        ),
        learner=replace(run.learner, replay=replace(run.learner.replay, replay_ratio=0.5)),
    )


def screen() -> RunConfig:
    """The demo's network in a window of this desktop, which `--world.screen.title` names; until it is stopped."""
    run = demo()
    return replace(
        run,
        duration=0.0,
        world=WorldConfig(kind="screen", worlds=("window",), placebo_worlds=()),
        actors=replace(run.actors, count=1, agent="walker"),
        learner=replace(run.learner, model=ModelConfig()),
    )


def vrchat() -> RunConfig:
    """VRChat with the settings of pamiq-vrchat's sample, 10 Hz and 144×144, and its small network; until stopped.

    Other people may be in the pictures: they are kept for thirty days.
    """
    run = _pamiq("vrchat", 320, 4, 2)
    return replace(
        run,
        duration=0.0,
        retention=30 * 86400.0,
        world=WorldConfig(kind="vrchat", worlds=("anywhere",), placebo_worlds=(), image_size=(144, 144)),
        actors=replace(run.actors, count=1, agent="walker"),
    )


def _pamiq(name: str, dim: int, depth: int, heads: int) -> RunConfig:
    """One of pamiq-vrchat's image encoder sizes: 144×144 frames, patches of 12, for days on a GPU.

    The predictor is half as wide as the encoder, and as deep.
    """
    model = ModelConfig(
        patch_size=12,
        dim=dim,
        depth=depth,
        heads=heads,
        predictor_dim=dim // 2,
        predictor_depth=depth,
        predictor_heads=heads,
    )
    return RunConfig(
        preset=name,
        duration=0.0,
        world=WorldConfig(image_size=(144, 144)),
        learner=LearnerConfig(model=model, replay=ReplayConfig(capacity=16384)),
    )


def _paper(
    name: str,
    *,
    patch: int,
    dim: int,
    depth: int,
    heads: int,
    predictor_depth: int,
    mlp_ratio: float = 4.0,
    side: int = 224,
    versions_kept: int = 4,
) -> RunConfig:
    """One of the I-JEPA paper's networks (arXiv:2301.08243, appendix A), with the predictor of the official code.

    The predictor is 384 wide, with as many heads as the encoder has.
    """
    model = ModelConfig(
        patch_size=patch,
        dim=dim,
        depth=depth,
        heads=heads,
        mlp_ratio=mlp_ratio,
        predictor_dim=384,
        predictor_depth=predictor_depth,
        predictor_heads=heads,
    )
    return RunConfig(
        preset=name,
        duration=0.0,
        world=WorldConfig(image_size=(side, side)),
        learner=LearnerConfig(
            model=model,
            optim=OptimConfig(batch_size=128),
            replay=ReplayConfig(capacity=16384),
            versions_kept=versions_kept,
        ),
    )


PRESETS: dict[str, Callable[[], RunConfig]] = {
    "demo": demo,
    "control": control,
    "curious": curious,
    "screen": screen,
    "vrchat": vrchat,
    "tiny": lambda: _pamiq("tiny", 256, 2, 2),
    "small": lambda: _pamiq("small", 320, 4, 2),
    "medium": lambda: _pamiq("medium", 432, 6, 3),
    "large": lambda: _pamiq("large", 768, 6, 4),
    "huge": lambda: _pamiq("huge", 1024, 8, 8),
    "vit_s16": lambda: _paper("vit_s16", patch=16, dim=384, depth=12, heads=6, predictor_depth=6),
    "vit_b16": lambda: _paper("vit_b16", patch=16, dim=768, depth=12, heads=12, predictor_depth=6),
    "vit_l16": lambda: _paper("vit_l16", patch=16, dim=1024, depth=24, heads=16, predictor_depth=12),
    "vit_h14": lambda: _paper("vit_h14", patch=14, dim=1280, depth=32, heads=16, predictor_depth=12),
    "vit_h16_448": lambda: _paper("vit_h16_448", patch=16, dim=1280, depth=32, heads=16, predictor_depth=12, side=448),
    "vit_g16": lambda: _paper(
        "vit_g16", patch=16, dim=1408, depth=40, heads=16, predictor_depth=16, mlp_ratio=48 / 11, versions_kept=2
    ),
}
"""Every preset, by the name that `--preset` takes."""


def preset(name: str) -> RunConfig:
    """Builds the preset with this name.

    Raises:
        ConfigError: There is none.
    """
    if name not in PRESETS:
        raise ConfigError("preset", name, f"must be one of {', '.join(PRESETS)}")
    return replace(PRESETS[name](), preset=name)
