"""Recipes by name: the experiment files that come with cnnjax, in its source tree and in an installed wheel."""

from cnnjax.recipes.shelf import Recipe, find, recipes

__all__ = ["Recipe", "find", "recipes"]
