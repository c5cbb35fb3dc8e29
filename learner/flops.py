"""Model FLOPs of one training step, from the sizes of the network and the lengths of its masks.

Counted is what I-JEPA asks for: two operations a multiply-add of every matrix product and of attention, whatever a
kernel computes besides. Norms, GELU, softmax, sums and the optimiser are left out (below 1 % of the operations).

A product of L rows with a D × E matrix takes 2 L D E. A block over L tokens of width D, with a hidden width H, of which
the results of Q tokens are wanted (Q = L but for the predictor's last block):

    keys and values  2 L D 2D     queries and output projection  2 Q D 2D     MLP  2 Q D 2H
    scores and mixture  2 · 2 Q L D, over all heads together

The way back costs every product twice, for the gradients of its two factors; only the patch embedding needs none for
its input. The target encoder has no way back.
"""

from dataclasses import dataclass

from common.config.model import ModelConfig
from common.ijepa.masks import Masks


@dataclass(frozen=True, kw_only=True)
class StepFlops:
    """Operations of one training step, by network.

    Attributes:
        target: Target encoder, forward, all patches.
        context: Context encoder, forward and backward, the patches that the masks leave.
        predictor: Predictor, forward and backward, the context once beside each target block.
    """

    target: int
    context: int
    predictor: int

    @property
    def total(self) -> int:
        """Operations of the whole step."""
        return self.target + self.context + self.predictor


def step_flops(config: ModelConfig, image_size: tuple[int, int], masks: Masks) -> StepFlops:
    """Counts the operations of a step on a batch with these masks.

    Args:
        config: Sizes of the networks.
        image_size: Height and width of a frame, pixels.
        masks: Those of the batch; only their shape matters.
    """
    rows, columns = config.grid(image_size)
    batch, count, length = masks.targets_BTK.shape
    patches, kept = rows * columns, masks.context_BK.shape[1]
    dim, narrow = config.dim, config.predictor_dim
    embedding = _product(1, 3 * config.patch_size**2, dim)

    def encoder(tokens: int) -> int:
        return config.depth * _block(tokens, dim, round(dim * config.mlp_ratio))

    tokens, hidden = kept + length, round(narrow * config.predictor_mlp_ratio)
    blocks = (config.predictor_depth - 1) * _block(tokens, narrow, hidden) + _block(tokens, narrow, hidden, length)
    each = blocks + _product(length, narrow, dim)
    return StepFlops(
        target=batch * (patches * embedding + encoder(patches)),
        context=batch * (2 * kept * embedding + 3 * encoder(kept)),
        predictor=3 * batch * (_product(kept, dim, narrow) + count * each),
    )


def _product(rows: int, inner: int, columns: int) -> int:
    return 2 * rows * inner * columns


def _block(tokens: int, dim: int, hidden: int, wanted: int | None = None) -> int:
    """Forward operations of a transformer block, of which the results of `wanted` tokens are asked for (all)."""
    wanted = tokens if wanted is None else wanted
    keys_values = _product(tokens, dim, 2 * dim)
    queries_output = _product(wanted, dim, 2 * dim)
    mlp = 2 * _product(wanted, dim, hidden)
    attention = 2 * _product(wanted, dim, tokens)
    return keys_values + queries_output + mlp + attention
