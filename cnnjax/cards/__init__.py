"""Cards: what an experiment file says of its source, its published figures, and what it must show to be reproduced."""

from cnnjax.cards.card import Band, Card, Machine, Published, WholeSet
from cnnjax.cards.claim import Claim

__all__ = ["Band", "Card", "Claim", "Machine", "Published", "WholeSet"]
