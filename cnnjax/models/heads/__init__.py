"""Heads on a backbone's endpoints, one file each: `with_head(model, head, outputs)`."""

from cnnjax.models.heads.fcn import FCN
from cnnjax.models.heads.head import Head, HeadedNetwork, with_head
from cnnjax.models.heads.torch_fcn import TorchFCN

__all__ = ["FCN", "Head", "HeadedNetwork", "TorchFCN", "with_head"]
