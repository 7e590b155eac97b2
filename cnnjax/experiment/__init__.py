"""An experiment, and what follows from it: its network, its examples, its steps, and whether it can be trained."""

from cnnjax.experiment.check import Checked, analysis_of, check, steps_alike
from cnnjax.experiment.experiment import Experiment
from cnnjax.experiment.families import Families
from cnnjax.experiment.functions import (
    around_of,
    blank_state,
    depths_of,
    entries_used,
    functions_of,
    lane_shapes,
    optimizer_of,
    state_functions,
    state_shapes,
    stated_rate,
)
from cnnjax.experiment.kept import kept_bytes
from cnnjax.experiment.length import Length, carving_of, length_of, parts_of
from cnnjax.experiment.network import input_shape_of, largest_input_of, network_of, one_array_of, task_of
from cnnjax.experiment.teacher import Teacher, Teachers
from cnnjax.experiment.training_examples import augmented, augmented_entries
