"""Heads on a backbone's endpoints, one file each: `with_head(model, head, outputs)`."""

from cnnjax.models.heads.deeplab import DeepLabV3
from cnnjax.models.heads.fcn import FCN
from cnnjax.models.heads.head import Head, HeadedNetwork, with_head
from cnnjax.models.heads.simple_baseline import SimpleBaseline
from cnnjax.models.heads.torch_fcn import TorchFCN

__all__ = ["FCN", "DeepLabV3", "Head", "HeadedNetwork", "SimpleBaseline", "TorchFCN", "with_head"]
