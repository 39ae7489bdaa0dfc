"""Class balance: which training clips are seen how often, and how much each class weighs in the loss."""

from audiocls.balance.selection import Balanced, balance

__all__ = ["Balanced", "balance"]
