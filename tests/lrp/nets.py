"""Small networks of torchvision's own parts with untidy parameters, for tests of relevance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models import DenseNet, ResNet
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.vgg import VGG, make_layers

CLASSES = 3


class TinyResNet(ResNet):
    """torchvision's ResNet with four stages of a few channels."""

    def __init__(self, block: type[BasicBlock | Bottleneck], stem: int = 4) -> None:
        nn.Module.__init__(self)
        self._norm_layer = nn.BatchNorm2d
        self.inplanes, self.dilation, self.groups, self.base_width = stem, 1, 1, 64
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(stem), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._make_layer(block, 4, 1)
        self.layer2 = self._make_layer(block, 3, 2, 2)
        self.layer3 = self._make_layer(block, 4, 1, 2)
        self.layer4 = self._make_layer(block, 3, 1, 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(3 * block.expansion, CLASSES)


class TinyVGG(VGG):
    """torchvision's VGG with a few channels and overlapping adaptive pooling (5 x 4 to 3 x 3)."""

    def __init__(self, batch_norm: bool) -> None:
        nn.Module.__init__(self)
        self.features = make_layers([4, "M", 5, 6, "M"], batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d(3)
        self.classifier = nn.Sequential(
            nn.Linear(54, 8), nn.ReLU(True), nn.Dropout(), nn.Linear(8, 7), nn.ReLU(True),
            nn.Dropout(), nn.Linear(7, CLASSES),
        )  # fmt: skip


def plain_chain() -> nn.Sequential:
    """Strides beyond the kernel's remainder, groups, dilation, ceil mode, average pooling."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 4, stride=3, padding=2), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 4, 3, padding=2, dilation=2, groups=2), nn.ReLU(),
        nn.MaxPool2d(3, 2, 0, ceil_mode=True), nn.AvgPool2d((2, 1), 1), nn.Flatten(),
        nn.LazyLinear(5), nn.ReLU(), nn.Linear(5, CLASSES),
    )  # fmt: skip


class Between(nn.Module):
    """conv, something, mean, linear."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)
        self.between = between
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.between(self.conv(x)).flatten(2).mean(2))


NETS: dict[str, Callable[[], nn.Module]] = {
    "basic": lambda: TinyResNet(BasicBlock),
    "bottleneck": lambda: TinyResNet(Bottleneck),
    "dense": lambda: DenseNet(2, (11, 2), 4, bn_size=2, num_classes=CLASSES),
    "vgg": lambda: TinyVGG(batch_norm=False),
    "vgg_bn": lambda: TinyVGG(batch_norm=True),
    "chain": plain_chain,
}


def build(name: str, seed: int = 0, size: tuple[int, int] = (21, 17)) -> nn.Module:
    """A network of `NETS` in float64 and eval mode; the global random state is unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = NETS[name]().double()
        net(images(size=size))  # sizes the lazy layers
        for module in net.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.normal_(module.bias, 0.1, 0.2)
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, -0.7, 1.3)
                nn.init.normal_(module.bias, std=0.3)
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.3, 1.2)
    return net.eval()


def images(batch: int = 2, size: tuple[int, int] = (21, 17), seed: int = 1) -> Tensor:
    """Images [batch, 3, *size] between 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, *size, dtype=torch.float64, generator=generator)


def without_biases(net: nn.Module) -> nn.Module:
    """The network with every bias and running mean set to 0, in place."""
    with torch.no_grad():
        for module in net.modules():
            if isinstance(getattr(module, "bias", None), Tensor):
                module.bias.zero_()
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.zero_()
    return net
