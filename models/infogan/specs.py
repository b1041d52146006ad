"""Sizes of latent codes and networks, as numbers only.

Nothing here imports torch, so that a configuration is validated in milliseconds. Networks are in
:mod:`unbraid.models.infogan.networks`, the distributions of codes in :mod:`unbraid.models.infogan.codes`.
"""

import math
from dataclasses import dataclass
from typing import Literal

NoisePrior = Literal["uniform", "normal"]
OutputActivation = Literal["sigmoid", "tanh"]
Variance = Literal["fixed", "learnt"]


@dataclass(frozen=True)
class CodeSpec:
    """Layout of a latent vector: noise, then one-hot categorical codes, then continuous codes.

    Attributes:
        noise: length of the incompressible noise ``z``.
        categorical: number of classes of each categorical code, uniform prior.
        continuous: number of continuous codes, prior ``Unif(-1, 1)`` each.
        noise_prior: ``uniform`` draws z from Unif(-1, 1) as the reference code does, ``normal`` from N(0, 1).
        variance: of Q for continuous codes. ``fixed`` is sigma = 1, so that the log-likelihood is a squared error; with
            ``learnt`` Q predicts a log-variance beside each mean. A tuple has one choice for each code.
    """

    noise: int = 62
    categorical: tuple[int, ...] = (10,)
    continuous: int = 2
    noise_prior: NoisePrior = "uniform"
    variance: Variance | tuple[Variance, ...] = "fixed"

    def __post_init__(self) -> None:
        if self.noise < 0 or self.continuous < 0:
            raise ValueError("noise and continuous must not be negative")
        for classes in self.categorical:
            if classes < 2:
                raise ValueError(f"a categorical code needs at least 2 classes, got {classes}")
        if self.head_width == 0:
            raise ValueError("at least one categorical or continuous code is needed: without any, Q has nothing to predict")
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
    def ceilings(self) -> dict[str, float]:
        """The largest L_I that each code can reach, in nats.

        ``log K`` for a categorical code. A continuous code with sigma fixed at 1 reaches ``log 2 - log(2 pi) / 2 = -0.226``
        where Q predicts it without error. With a learnt variance there is no ceiling: infinity.
        """
        ceilings = dict(self.entropies)
        for i, variance in enumerate(self.variances):
            fixed = math.log(2.0) - 0.5 * math.log(2 * math.pi)
            ceilings[f"continuous_{i}"] = fixed if variance == "fixed" else math.inf
        return ceilings


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
