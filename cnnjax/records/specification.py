"""What a metric is: its unit, which way is better, how it is printed, and which interval it has."""

from __future__ import annotations

from collections.abc import Sequence

from cnnjax.records.record import Entry


class Specification(Entry):
    """What a metric is. name: behind the part's name in a result, as in `test_accuracy`. total: the sum that it is
    made of, in what is added up over batches. unit: "share" (0..1), "nats", "pixels" and so on, or "" for the labels'
    own. printed: as Python formats it, such as ".4f" or, in percent, ".2%".

    binomial: whether it is a share of examples each of which is right or wrong, so that its interval over examples is
    the exact binomial one; a mean IoU is a share, and is not. label: the name as it stands in a sentence and a heading
    ("mean IoU"); empty where that is `name` with spaces.
    """

    name: str
    total: str
    unit: str
    higher_is_better: bool
    printed: str
    binomial: bool = False
    label: str = ""

    @property
    def words(self) -> str:
        """Its name in a sentence: `top5 accuracy`."""
        return self.label or self.name.replace("_", " ")

    @property
    def is_percent(self) -> bool:
        """Whether it is printed in percent."""
        return self.printed.endswith("%")

    @property
    def symbol(self) -> str:
        """What stands behind its numbers: `%`, `nats`; empty where nothing does."""
        return "%" if self.is_percent else "" if self.unit == "share" else self.unit

    @property
    def decimals(self) -> int:
        """How many digits `printed` has after the point."""
        return int("".join(filter(str.isdecimal, self.printed)) or 0)

    @property
    def is_loss(self) -> bool:
        """Whether it is the mean of the loss that was trained on, which may be of any kind."""
        return self.total == "loss"

    def text(self, value: float) -> str:
        """One number as it is printed, with its unit: `96.53%`, `3.20 pixels`."""
        return f"{value:{self.printed}}" + (f" {self.symbol}" if self.symbol not in ("", "%") else "")


BEFORE = (
    Specification(name="accuracy", total="correct", unit="share", higher_is_better=True, printed=".2%", binomial=True),
    Specification(
        name="top5_accuracy", total="correct_top5", unit="share", higher_is_better=True, printed=".2%", binomial=True
    ),
    Specification(name="loss", total="loss", unit="", higher_is_better=False, printed=".4f"),
    Specification(name="mean_squared_error", total="squared_error", unit="", higher_is_better=False, printed=".4f"),
    Specification(name="mean_absolute_error", total="absolute_error", unit="", higher_is_better=False, printed=".4f"),
    Specification(
        name="expected_calibration_error", total="bin_correct", unit="share", higher_is_better=False, printed=".4f"
    ),
)
"""What was measured before runs recorded all of this, in order of importance: those runs are read with it, and no
other. The first that was measured is what arms were compared by, but never top-5 accuracy or an error."""

COMPARED_BEFORE = ("accuracy", "loss")
"""What arms were compared by then: the first of these that was recorded."""


def specification_of(metric: str, known: Sequence[Specification]) -> Specification | None:
    """What a recorded number is by its name, which begins with that of a part: `test_accuracy`; None where unknown.

    Between the part's name and the metric's a method's may stand: `validation_ema_accuracy`.
    """
    bare = metric.partition("_")[2]
    exact = [each for each in (*known, *BEFORE) if each.name == bare]
    ends = sorted((each for each in known if metric.endswith(f"_{each.name}")), key=lambda each: len(each.name))
    return exact[0] if exact else ends[-1] if ends else None
