"""Heads that say a sentence of a backbone's maps, one file each."""

from cnnjax.models.captioners.captioner import Captioner
from cnnjax.models.captioners.show_and_tell import ShowAndTell

__all__ = ["Captioner", "ShowAndTell"]
