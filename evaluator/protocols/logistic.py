"""Multinomial logistic regression by L-BFGS, in float64.

Shapes: N pictures, D features, C classes.
"""

import torch
from torch import Tensor
from torch.nn import functional

STRENGTHS = tuple(10.0**power for power in range(0, -6, -1))
"""Candidates for λ, the strongest first: each fit begins where the one before ended."""

_ITERATIONS = 300
_TOLERANCE = 1e-6
"""Greatest gradient that counts as zero."""


class Logistic:
    """Softmax regression with a penalty on the weights, intercept free.

    Minimises  (1/N) Σ −log softmax(Wx + b)_y + λ/2 ‖W‖²,  which is scikit-learn's `LogisticRegression(C=1/(Nλ))`.

    Args:
        x_ND: Standardised training features, float64.
        label_N: Classes, int64.
        classes: How many there are.
    """

    weight_CD: Tensor
    bias_C: Tensor

    def __init__(self, x_ND: Tensor, label_N: Tensor, classes: int) -> None:
        self._x_ND, self._label_N = x_ND, label_N
        self.weight_CD = torch.zeros(classes, x_ND.shape[1], dtype=x_ND.dtype, device=x_ND.device)
        self.bias_C = torch.zeros(classes, dtype=x_ND.dtype, device=x_ND.device)

    def fit(self, strength: float) -> None:
        """Fits with this λ, beginning at the last fit."""
        parameters = [self.weight_CD.requires_grad_(), self.bias_C.requires_grad_()]
        solver = torch.optim.LBFGS(
            parameters,
            max_iter=_ITERATIONS,
            tolerance_grad=_TOLERANCE,
            tolerance_change=0.0,
            history_size=20,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            solver.zero_grad()
            value = functional.cross_entropy(self.logits(self._x_ND), self._label_N)
            value = value + strength / 2 * self.weight_CD.square().sum()
            torch.autograd.backward(value)
            return value

        solver.step(loss)  # pyright: ignore[reportArgumentType, reportUnknownMemberType]
        self.weight_CD, self.bias_C = (parameter.detach() for parameter in parameters)

    def logits(self, x_MD: Tensor) -> Tensor:
        """Gives logits_MC."""
        return x_MD @ self.weight_CD.T + self.bias_C
