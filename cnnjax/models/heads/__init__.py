"""Heads on a backbone's endpoints, one file each: `with_head(model, head, outputs)`."""

from cnnjax.models.heads.head import Head, WithHead, with_head

__all__ = ["Head", "WithHead", "with_head"]
