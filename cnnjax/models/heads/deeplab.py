"""DeepLabv3: Chen, Papandreou, Schroff & Adam 2017 (arXiv:1706.05587, sections 3.2 and 3.3).

Atrous spatial pyramid pooling: the last map is read at several scales at once, by a 1x1 convolution, by 3x3
convolutions of several dilations, and by its mean over the map; all are joined, projected and scored. On ResNets
dilated to stride 8, with the dilations, features and place of dropout of torchvision.models.segmentation.deeplabv3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

import flax.linen as linen
import jax
import jax.numpy as jnp
from pydantic import Field

from cnnjax import nn
from cnnjax.models.blocks import ConvNorm, dropout
from cnnjax.models.endpoint import Endpoint
from cnnjax.models.fields import ActivationName, Count, Pair, Rate
from cnnjax.models.heads.head import Head
from cnnjax.models.heads.torch_fcn import TorchFCN, add_auxiliary, check_auxiliary
from cnnjax.models.norm import BatchNorm, Norm


class DeepLabV3(Head, tag="deeplabv3"):
    """Scores of the last map, read at several dilations, resized to the image.

    Attributes:
        dilations: of the branches with a convolution of `kernel_size`: twice the paper's 6, 12 and 18 at stride 8. None
            of them, (), leaves the 1x1 convolution and the mean.
        features: of each branch, of the projection and of the convolution before the scores.
        kernel_size: of the dilated branches and of the convolution before the scores.
        pool: whether the mean over the map is a branch.
        norm, activation: of each convolution but the scores.
        dropout: after the projection.
        auxiliary: the endpoint of a `torch_fcn` head beside it, such as "stage3", which only training runs; None for
            none. auxiliary_weight: what its loss counts.
    """

    dilations: tuple[Count, ...] = (12, 24, 36)
    features: Count = 256
    kernel_size: Pair = 3
    pool: bool = True
    norm: Norm = BatchNorm()
    activation: ActivationName = "relu"
    dropout: Rate = 0.5
    auxiliary: str | None = None
    auxiliary_weight: float = Field(default=0.5, ge=0)

    image_size: ClassVar[int | None] = 520

    @property
    def beside(self) -> TorchFCN:
        """The auxiliary head."""
        return TorchFCN(
            norm=self.norm,
            activation=self.activation,
            auxiliary=self.auxiliary,
            auxiliary_weight=self.auxiliary_weight,
        )

    def network(self, endpoints: tuple[Endpoint, ...], outputs: int) -> linen.Module:
        check_auxiliary(self.auxiliary, endpoints)
        return DeepLabHead(self, endpoints[-1].name, outputs)

    def torch_name(self, path: str) -> str:
        if path.startswith("auxiliary."):
            return self.beside.torch_name(path)
        if path == "logits":
            return "classifier.4"
        names = {"point": "0.convs.0", "pool": f"0.convs.{1 + len(self.dilations)}", "project": "0.project"}
        names |= {f"dilated{number}": f"0.convs.{number}" for number in range(1, 1 + len(self.dilations))}
        found = re.fullmatch(r"(\w+)[.](conv|norm)", path)
        if found is None or found[1] not in (*names, "conv"):
            return path
        part, norm = found[1], int(found[2] == "norm")
        if part == "conv":
            return f"classifier.{1 + norm}"
        # PyTorch's pooling is a module of its own, the first of that branch.
        return f"classifier.{names[part]}.{norm + (part == 'pool')}"

    def torch_ignores(self, name: str) -> bool:
        return self.beside.torch_ignores(name)


class DeepLabHead(linen.Module):
    """Maps -> [B, H, W, outputs], in the config's terms. last: the endpoint that is scored."""

    config: DeepLabV3
    last: str
    outputs: int

    @linen.compact
    def __call__(self, maps: Mapping[str, jax.Array], *, size: tuple[int, int], train: bool) -> jax.Array:
        config, x = self.config, maps[self.last]
        branches = [self._conv(x, 1, "point", train=train)]
        for number, dilation in enumerate(config.dilations, start=1):
            branches.append(self._conv(x, config.kernel_size, f"dilated{number}", dilation=dilation, train=train))
        if config.pool:
            mean = nn.GlobalPooling("average", name="mean")(x)[:, None, None, :]
            mean = self._conv(mean, 1, "pool", train=train)
            branches.append(jnp.broadcast_to(mean, branches[0].shape))
        y = self._conv(jnp.concatenate(branches, axis=-1), 1, "project", train=train)
        y = dropout(y, config.dropout, train=train)
        y = self._conv(y, config.kernel_size, "conv", train=train)
        scores = nn.Convolution(self.outputs, 1, name="logits")(y)
        add_auxiliary(self, config.beside, maps, self.outputs, size=size, train=train)
        return nn.Resize(size=size, name="upsample")(scores)

    def _conv(self, x: jax.Array, kernel_size: Pair, name: str, *, dilation: int = 1, train: bool) -> jax.Array:
        config = self.config
        conv = ConvNorm(
            config.features,
            kernel_size,
            dilation=dilation,
            norm=config.norm,
            activation=config.activation,
            name=name,
        )
        return conv(x, train=train)
