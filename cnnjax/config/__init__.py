"""Frozen configurations: checked when made, addressed by dotted paths, named by their content.

A `Config` is a frozen pydantic model that refuses unknown fields and never coerces a value. A tagged union is a
`Config` declared with `union="key"`; every subclass of it, a user's own included, can stand wherever the union is
expected, and is written to JSON with its tag under that key:

    class Optim(Config, union="name"): ...
    class SGD(Optim): learning_rate: float = 0.1       # {"name": "sgd", "learning_rate": 0.1}

Paths are dotted (`model.layers.conv1.kernel_size`, `augment.0.padding`) and step through fields, named entries and
tuple positions. This package knows nothing of networks and imports no JAX.
"""

from cnnjax.config.base import Config, snake_case
from cnnjax.config.binding import bind, lanes, program_digest, program_text
from cnnjax.config.explain import explain, explain_declaration
from cnnjax.config.identity import canonical, canonical_text, digest, digest_of_text, plain
from cnnjax.config.leaves import classes, configs, diff, leaves
from cnnjax.config.marked_fields import is_lane, is_later, lane, lane_fields, later, refused, renamed
from cnnjax.config.named import Named, NamedOf
from cnnjax.config.paths import named_with, outermost_first, read, replace, required_fields
from cnnjax.config.text import parse, replace_text, replace_texts, split_values
from cnnjax.config.unions import tag_key_of, union_keys, unknown_tags

__all__ = [
    "Config",
    "Named",
    "NamedOf",
    "bind",
    "canonical",
    "canonical_text",
    "classes",
    "configs",
    "diff",
    "digest",
    "digest_of_text",
    "explain",
    "explain_declaration",
    "is_lane",
    "is_later",
    "lane",
    "lane_fields",
    "lanes",
    "later",
    "leaves",
    "named_with",
    "outermost_first",
    "parse",
    "plain",
    "program_digest",
    "program_text",
    "read",
    "refused",
    "renamed",
    "replace",
    "replace_text",
    "replace_texts",
    "required_fields",
    "snake_case",
    "split_values",
    "tag_key_of",
    "union_keys",
    "unknown_tags",
]
