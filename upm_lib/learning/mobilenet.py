"""MobileNetV1 for a model that is loaded: the backbone that timm builds, without timm.

Training takes timm's, whose first numbers a seed decides; a model file brings all numbers. Both
have the same tensors under the same names, and give the same maps bit by bit.
"""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

# (units, channels, stride of the first unit): the published widths in timm's stages.
STAGES = ((1, 64, 1), (2, 128, 2), (2, 256, 2), (6, 512, 2), (2, 1024, 2))
CHANNELS = STAGES[-1][1]  # of the map
EPS = 1e-3  # of the batch normalisations, the head's too


class _Halving(nn.Conv2d):
    """A convolution of stride 2 with TensorFlow's padding: one row below, one column beside."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 1, 0, 1)))


def _conv(c_in: int, c: int, size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    if stride == 2:
        return _Halving(c_in, c, size, 2, groups=groups, bias=False)
    return nn.Conv2d(c_in, c, size, padding=size // 2, groups=groups, bias=False)


class _Norm(nn.BatchNorm2d):
    """A batch normalisation that holds its activation, as timm's do."""

    def __init__(self, c: int) -> None:
        super().__init__(c, eps=EPS)
        self.act = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


def _unit(c_in: int, c: int, stride: int) -> nn.Module:
    conv_dw, conv_pw = _conv(c_in, c_in, 3, stride, groups=c_in), _conv(c_in, c, 1)
    layers = OrderedDict(conv_dw=conv_dw, bn1=_Norm(c_in), conv_pw=conv_pw, bn2=_Norm(c))
    return nn.Sequential(layers)


def backbone(stride: int) -> nn.Sequential:
    """Return frames [B, 3, H, W] to maps [B, 1024, H / stride, W / stride]; stride is 32 or 16."""
    blocks, c_in = nn.Sequential(), 32
    for units, c, step in STAGES:
        last = c == CHANNELS and stride == 16
        stage = nn.Sequential()
        for _ in range(units):
            stage.append(_unit(c_in, c, 1 if last else step))
            c_in, step = c, 1
        blocks.append(stage)
    layers = OrderedDict(conv_stem=_conv(3, 32, 3, 2), bn1=_Norm(32), blocks=blocks)
    return nn.Sequential(layers)
