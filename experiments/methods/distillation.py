"""Does a small network learn more from a larger one than from labels?

Hypothesis: soft labels of a teacher that is better by one point give the student half of it, and hard ones nothing.
The teacher is a run of `teacher.py` in runs/teacher.
"""

from few_digits import experiment

from cnnjax import Distillation, Study

teacher = "runs/teacher"
methods = [
    (),
    (Distillation(teacher=teacher, alpha=0.5, temperature=2.0),),
    (Distillation(teacher=teacher, alpha=0.9, temperature=4.0),),
    (Distillation(teacher=teacher, alpha=1.0, temperature=4.0),),
    (Distillation(teacher=teacher, alpha=0.5, labels="hard"),),
]
study = Study(experiment, axes={"methods": methods}, seeds=6)
