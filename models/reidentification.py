"""A residual network that is trained to name people, and whose features tell people apart that it has never seen.

The baseline of Zheng et al., *Person Re-identification: Past, Present and Future* (2016), called IDE: a classifier of the
training identities by cross-entropy; the features before its last layer are compared by their cosine. Theirs is a ResNet-50
that was trained on ImageNet; this one has four blocks and begins with fresh weights.
"""

from torch import Tensor, nn
from torch.nn import functional as F

STAGES = 4


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch norm, and a skip connection (He et al., CVPR 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.second, self.second_norm = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.skip = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        inner = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(inner)) + self.skip(x))


class IdentityClassifier(nn.Module):
    """Names one of the training identities; :meth:`features` are for anybody.

    Args:
        identities: to be told apart.
        width: channels of the first of four stages; each later one has twice those before it.
    """

    def __init__(self, identities: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        widths = [width << i for i in range(STAGES)]
        inputs = [width, *widths[:-1]]
        blocks = [ResidualBlock(a, b, 1 if i == 0 else 2) for i, (a, b) in enumerate(zip(inputs, widths, strict=True))]
        self.stages = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm1d(widths[-1])
        self.classifier = nn.Linear(widths[-1], identities)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(self.classifier.weight, 0.0, 0.01)
        nn.init.zeros_(self.classifier.bias)

    def features(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] → (B, 8 · width), the mean over places, centred and scaled by batch norm."""
        maps = self.stages(self.stem(images))
        features: Tensor = self.norm(maps.mean((2, 3)))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] → logits of the training identities (B, identities)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
