"""Sizes of latent codes and networks, as numbers only.

Nothing here imports torch, so that a configuration is validated in milliseconds. Networks are in
:mod:`unbraid.models.infogan.networks`, the distributions of codes in :mod:`unbraid.models.infogan.codes`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

NoisePrior = Literal["uniform", "normal"]
OutputActivation = Literal["sigmoid", "tanh"]
Variance = Literal["fixed", "learnt"]
PRIOR_VARIANCE = 1 / 3
"""Of a continuous code, Unif(-1, 1)."""


@dataclass(frozen=True)
class CodeSpec:
    """Layout of a latent vector: noise, then one-hot categorical codes, then continuous codes.

    Attributes:
        noise: length of the incompressible noise ``z``.
        categorical: number of classes of each categorical code, uniform prior.
        continuous: number of continuous codes, prior ``Unif(-1, 1)`` each.
        noise_prior: ``uniform`` draws z from Unif(-1, 1) as the reference code does, ``normal`` from N(0, 1).
        variance: of Q for continuous codes. ``fixed`` is sigma = 1, so that the log-likelihood is a squared error; with
            ``learnt`` Q predicts a variance beside each mean. A tuple has one choice for each code.
        variance_floor: added to a learnt variance. Without it L_I would have no ceiling, and no share of it could be reported.
    """

    noise: int = 62
    categorical: tuple[int, ...] = (10,)
    continuous: int = 2
    noise_prior: NoisePrior = "uniform"
    variance: Variance | tuple[Variance, ...] = "fixed"
    variance_floor: float = 0.01

    def __post_init__(self) -> None:
        if self.noise < 0 or self.continuous < 0:
            raise ValueError("noise and continuous must not be negative")
        for classes in self.categorical:
            if classes < 2:
                raise ValueError(f"a categorical code needs at least 2 classes, got {classes}")
        if self.head_width == 0:
            raise ValueError("at least one categorical or continuous code is needed: without any, Q has nothing to predict")
        if not 0 < self.variance_floor < PRIOR_VARIANCE:
            raise ValueError(
                f"variance_floor={self.variance_floor:g} must be above 0 and below {PRIOR_VARIANCE:.3f}, the variance of the "
                "prior Unif(-1, 1): a Q that knows nothing must be able to say so"
            )
        if not isinstance(self.variance, str) and len(self.variance) != self.continuous:
            raise ValueError(
                f"variance has {len(self.variance)} entries for {self.continuous} continuous codes: "
                "give one word for all, or one for each"
            )

    @property
    def variances(self) -> tuple[Variance, ...]:
        """``fixed`` or ``learnt``, for each continuous code."""
        if isinstance(self.variance, str):
            return (self.variance,) * self.continuous
        return self.variance

    @property
    def latent_width(self) -> int:
        """Length of the generator's input: noise, one-hots, continuous."""
        return self.noise + sum(self.categorical) + self.continuous

    @property
    def head_width(self) -> int:
        """Length of Q's output: all logits, all means, a log-variance for each code that learns it."""
        return sum(self.categorical) + self.continuous + sum(v == "learnt" for v in self.variances)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each code in metrics, plots and files."""
        categorical = tuple(f"categorical_{i}" for i in range(len(self.categorical)))
        return categorical + tuple(f"continuous_{i}" for i in range(self.continuous))

    @property
    def entropies(self) -> dict[str, float]:
        """H(c) of each code's prior in nats: ``log K``, or the differential entropy ``log 2`` of Unif(-1, 1)."""
        entropies = [math.log(k) for k in self.categorical] + [math.log(2.0)] * self.continuous
        return dict(zip(self.names, entropies, strict=True))

    @property
    def floors(self) -> tuple[float, ...]:
        """The least variance of Q for each continuous code; 1 where it is fixed."""
        return tuple(1.0 if variance == "fixed" else self.variance_floor for variance in self.variances)

    @property
    def ceilings(self) -> dict[str, float]:
        """The largest L_I that each code can reach, in nats: where Q predicts it without error, at its least variance.

        ``log K`` for a categorical code, ``log 2 - log(2 pi v) / 2`` for a continuous one of least variance v: -0.226 with
        sigma fixed at 1, 2.077 with a floor of 0.01.
        """
        ceilings = dict(self.entropies)
        for i, floor in enumerate(self.floors):
            ceilings[f"continuous_{i}"] = math.log(2.0) - 0.5 * math.log(2 * math.pi * floor)
        return ceilings

    @property
    def uninformed(self) -> dict[str, float]:
        """L_I of each code in nats where Q knows no more than the prior.

        0 for a categorical code. For a continuous one the best Gaussian has mean 0 and the prior's variance 1/3, or the least
        variance where that is larger: -0.177 with a learnt variance (a Gaussian is not the uniform prior), -0.393 with sigma 1.
        """
        least = dict.fromkeys(self.names, 0.0)
        for i, floor in enumerate(self.floors):
            variance = max(floor, PRIOR_VARIANCE)
            density = -0.5 * (math.log(2 * math.pi * variance) + PRIOR_VARIANCE / variance)
            least[f"continuous_{i}"] = math.log(2.0) + density
        return least

    def information_shares(self, nats: Mapping[str, float]) -> dict[str, float]:
        """L_I of each code as a share of what its image could tell, in [0, 1].

        0 where Q knows no more than the prior (:attr:`uninformed`), 1 at the ceiling (:attr:`ceilings`), linear in nats
        between. With sigma fixed at 1 that is the share of a continuous code's variance that Q's mean explains; with a learnt
        variance errors count on a logarithmic scale.

        Args:
            nats: L_I of every code by its name.
        """
        least, most = self.uninformed, self.ceilings
        shares = {name: (nats[name] - least[name]) / (most[name] - least[name]) for name in self.names}
        return {name: min(max(share, 0.0), 1.0) for name, share in shares.items()}


@dataclass(frozen=True)
class LayerSpec:
    """One convolution of a trunk, or one transposed convolution of a generator.

    Attributes:
        channels: of its output.
        stride: 2 halves (doubles) the image, 1 keeps its size.
        norm: a batch norm before the activation.
        kernel: side of the kernel in pixels. The image is padded by ``kernel - stride`` pixels in all, where that number is odd
            by one more at the right and at the bottom, as TensorFlow's SAME does: a kernel of 4 with stride 1 is padded by 1 at
            the left and at the top, by 2 at the right and at the bottom.
    """

    channels: int
    stride: Literal[1, 2] = 2
    norm: bool = True
    kernel: int = 4

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ValueError(f"channels must be at least 1, got {self.channels}")
        if self.kernel < self.stride:
            raise ValueError(f"kernel must be at least as large as the stride, {self.stride}, got {self.kernel}")

    @property
    def padding(self) -> tuple[int, int]:
        """Pixels before the image (left, top) and after it (right, bottom) with which its size is kept, or halved."""
        before = (self.kernel - self.stride) // 2
        return before, self.kernel - self.stride - before


@dataclass(frozen=True)
class GeneratorSpec:
    """``latent → [FC hidden BN ReLU] → FC start BN ReLU → layers → upconv to the image → output``.

    Attributes:
        hidden: width of the first fully connected layer; None leaves it out.
        start_channels: channels of the first feature map.
        layers: transposed convolutions between the first map and the image.
        output: activation of the last layer; images are in [0, 1] with ``sigmoid``, in [-1, 1] with ``tanh``.
    """

    hidden: int | None = 1024
    start_channels: int = 128
    layers: tuple[LayerSpec, ...] = (LayerSpec(64),)
    output: OutputActivation = "sigmoid"

    @property
    def upsampling(self) -> int:
        """Factor from the first feature map to the image; the last transposed convolution doubles too."""
        doublings = 1 + sum(layer.stride == 2 for layer in self.layers)
        return 1 << doublings


@dataclass(frozen=True)
class TrunkSpec:
    """``image → layers → [FC hidden BN LReLU]``, shared by D and Q, then ``D: FC 1`` and ``Q: FC q_hidden BN LReLU → FC``.

    Attributes:
        layers: convolutions.
        hidden: width of the fully connected layer after them; None leaves it out.
        q_hidden: width of Q's own hidden layer.
        slope: of the leaky ReLU; 0.01 is the reference code's.
    """

    layers: tuple[LayerSpec, ...] = (LayerSpec(64, norm=False), LayerSpec(128))
    hidden: int | None = 1024
    q_hidden: int = 128
    slope: float = 0.01

    @property
    def downsampling(self) -> int:
        """Factor from the image to the last feature map."""
        return 1 << sum(layer.stride == 2 for layer in self.layers)
