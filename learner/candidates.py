"""What happens when a version is due: the network is examined, judged, offered, and put back where it must be.

slice of training ─► due? ─► examine (frames of the last batches) ─► Guardrail ─► Publisher
                                                                          └─► rollback: model, optimiser, ledger

Of several ranks the first examines, judges and offers; the others give it the rows of their ledgers, and do what it has
decided, at the same step.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.config.learner import GuardMode, GuardrailConfig
from common.errors import GuardrailError
from common.findings import GuardFinding
from common.health.network import Watch, target_distance, weight_magnitude
from common.health.spectrum import alpha_req, effective_rank, rankme
from common.ijepa.model import IJepa
from common.ledger import LedgerNews
from common.messages import VersionInfo
from learner.guardrail import Action, Guardrail, LastHealthy, Verdict
from learner.ledger import Ledger
from learner.publication import Publisher, finite
from learner.ranks import Ranks
from learner.step import TrainingStep

SLICE = 32
"""Frames encoded at once by an examination."""
REMEMBERED = 64
"""Findings that wait in the status for whoever writes them down."""

_log = logging.getLogger(__name__)


class Candidates:
    """Makes versions of the training network.

    Frames for the examination come from the last batches that training drew, chosen by a generator of its own: nothing
    here moves the draws of training. They are as many draws from the buffer as `guardrail.frames` says, fewer only
    before that many were drawn.

    Args:
        publisher: Where versions go.
        config: The guardrail's settings.
        step: The training step; its model is examined.
        ledger: Goes back with the weights.
        seed: Of the choice of frames.
        rolled_back: Called after model, training step and ledger were put back.
        ranks: Processes that train together.

    Attributes:
        guardrail: Judges, and counts.
        findings: Unhealthy candidates of this process, the newest last.
        health: What was measured of the newest candidate.
    """

    def __init__(
        self,
        publisher: Publisher,
        config: GuardrailConfig,
        step: TrainingStep,
        ledger: Ledger,
        *,
        seed: int,
        rolled_back: Callable[[], None] = lambda: None,
        ranks: Ranks | None = None,
    ) -> None:
        self._ranks = ranks or Ranks()
        self._publisher = publisher
        self._config = config
        self._step = step
        self._model: IJepa = step.model
        self._ledger = ledger
        self._rolled_back = rolled_back
        self._generator = np.random.default_rng(seed)
        self._recent: deque[NDArray[np.uint8]] = deque()
        self._judged_at = (step.step, step.skipped)
        self.guardrail = Guardrail(config)
        self.findings: deque[GuardFinding] = deque(maxlen=REMEMBERED)
        self.health: Mapping[str, float] = {}
        self._last: LastHealthy | None = None
        if config.mode is GuardMode.ROLLBACK:
            self._last = LastHealthy(self._model, step)
            ledger.mark()

    def note_batch(self, frames_BHWC: NDArray[np.uint8]) -> None:
        """Remembers the frames of a batch, so that the next examination has some."""
        if not self._ranks.first:
            return
        self._recent.appendleft(frames_BHWC)
        while sum(map(len, self._recent)) - len(self._recent[-1]) >= self._config.frames:
            self._recent.pop()

    def make(self, batch_health: Mapping[str, float], *, gradient_ns: int) -> VersionInfo | None:
        """Makes a version, if one is due; all ranks call this after the same step.

        Args:
            batch_health: What the last step measured.
            gradient_ns: Wall clock at its end, ns.

        Returns:
            The version; None where none was due, and on the ranks that do not offer it.

        Raises:
            GuardrailError: It is unhealthy, and no rollback is left.
        """
        if not any(self._ranks.lead(self._publisher.due())):
            return None
        news = self._collect_news()
        if not self._ranks.first:
            version, created_ns, decided = self._ranks.lead(0, 0, 0)
            self._publisher.note(version, created_ns)
            self._follow(_ACTIONS[decided])
            return None
        verdict = self._judge(batch_health)
        info = self._publisher.publish(
            self._model,
            step=self._step.step,
            health=self.health,
            gradient_ns=gradient_ns,
            published=verdict.published,
            ledger=news.pack(),
        )
        self._ranks.lead(info.version, info.created_ns, _ACTIONS.index(verdict.action))
        self._act(verdict, info)
        return info

    def healthy(self) -> bool | None:
        """Says whether training may be gone on with from here, after a death; None where no rollback could ask that.

        What the guardrail found unhealthy and has not put back yet is not, and neither is what it would find so now.
        """
        if self._last is None or not self._ranks.first:
            return None
        if self.guardrail.streak or not finite(self._model.state_dict()):
            return False
        return not self._recent or self.guardrail.accepts(examine(self._model, self._newest_frames()))

    def _collect_news(self) -> LedgerNews:
        """What evaluators are told of the ledgers of all ranks."""
        news = self._ledger.news(self._publisher.version + 1)
        if self._ranks.count == 1:
            return news
        return LedgerNews.joined(list(map(LedgerNews.from_bytes, self._ranks.collect(news.to_bytes()))))

    def _judge(self, batch_health: Mapping[str, float]) -> Verdict:
        is_finite = finite(self._model.state_dict())
        # The step's own `feature_std` is the context encoder's over a batch; the examination's the target encoder's.
        self.health = {_BATCH_NAMES.get(name, name): value for name, value in batch_health.items()}
        if is_finite and self._recent:
            self.health = {**self.health, **examine(self._model, self._frames())}
        return self.guardrail.judge(self.health, finite=is_finite, stuck=self._stuck())

    def _newest_frames(self) -> NDArray[np.uint8]:
        return np.concatenate(list(self._recent))[: self._config.frames]

    def _frames(self) -> NDArray[np.uint8]:
        frames_NHWC = np.concatenate(list(self._recent))
        count = min(self._config.frames, len(frames_NHWC))
        return frames_NHWC[self._generator.choice(len(frames_NHWC), count, replace=False)]

    def _stuck(self) -> bool:
        step, skipped = self._step.step, self._step.skipped
        before, self._judged_at = self._judged_at, (step, skipped)
        return step > before[0] and skipped - before[1] >= step - before[0]

    def _act(self, verdict: Verdict, info: VersionInfo) -> None:
        done = self._follow(verdict.action)
        if verdict.action is Action.PUBLISH:
            return
        assert verdict.reason is not None
        _log.warning("version %d, step %d: %s (%s)", info.version, info.step, verdict, verdict.action)
        self.findings.append(
            GuardFinding(
                number=self.findings[-1].number + 1 if self.findings else 1,
                version=info.version,
                step=info.step,
                reason=verdict.reason,
                action=str(verdict.action),
                value=verdict.value,
                limit=verdict.limit,
                **done,
            )
        )
        if verdict.action is Action.STOP:
            raise GuardrailError(
                f"version {info.version}, step {info.step}: {verdict}, after {self.guardrail.rollbacks.total()} of "
                f"{self._config.rollbacks} rollbacks (learner.guardrail.rollbacks), learning rate "
                f"{self._step.lr:.2g}; try a regulariser, a lower learner.optim.lr or an ema nearer 1"
            )

    def _follow(self, action: Action) -> dict[str, Any]:
        """Does on this rank what was decided for all; returns what a finding tells of it."""
        if action is Action.PUBLISH and self._last is not None:
            self._last.keep()
            self._ledger.mark()
        if action is not Action.ROLLBACK:
            return {}
        assert self._last is not None
        self._last.restore(self._config.lr_cut)
        undone = sum(told for (told,) in self._ranks.each(self._ledger.undo(self._step.step)))
        self._judged_at = (self._step.step, self._step.skipped)
        self._rolled_back()
        return {"restored_step": self._step.step, "undone_exposures": undone, "lr_factor": self._step.lr_factor}


_ACTIONS = tuple(Action)
_BATCH_NAMES = {"feature_std": "context_std"}


@torch.no_grad()
def examine(model: IJepa, frames_NHWC: NDArray[np.uint8]) -> dict[str, float]:
    """Measures the health of a network on some frames: everything of MEASURES section 3 but for LiDAR.

    One pass of the target encoder over the frames, and two spectra; the evaluator's row has LiDAR too, which needs many
    views of each frame.

    Args:
        model: The networks.
        frames_NHWC: uint8 RGB.

    Returns:
        `rankme`, `effective_rank`, `alpha`, `feature_std` and `feature_std_before` (pooled features behind and before
        the last norm), `dormant_units`, `weight` and `target_distance`; NaN where features are not finite.
    """
    encoder = model.target_encoder
    device = next(model.parameters()).device
    parts: list[NDArray[np.float32]] = []
    with Watch(encoder) as watch:
        for start in range(0, len(frames_NHWC), SLICE):
            frames_BHWC = torch.from_numpy(frames_NHWC[start : start + SLICE]).to(device)  # pyright: ignore[reportUnknownMemberType]
            parts.append(encoder.pooled(frames_BHWC).float().cpu().numpy())
    features_ND, before_ND = np.concatenate(parts), watch.before_ND()
    found = {"weight": weight_magnitude(encoder), "target_distance": target_distance(model)}
    if not np.isfinite(features_ND).all():
        return found | dict.fromkeys(("rankme", "feature_std"), float("nan"))
    return found | {
        "rankme": rankme(features_ND),
        "effective_rank": effective_rank(features_ND),
        "alpha": alpha_req(features_ND),
        "feature_std": float(features_ND.std(0).mean()),
        "feature_std_before": float(before_ND.std(0).mean()),
        "dormant_units": watch.dormant_units(),
    }
