"""What there is on this machine for cnnjax to work with, and what is wrong with it.

`facts` looks and judges nothing, `measure` asks JAX in a process of its own, `faults` judges and looks at nothing,
`page` shows both.
"""

from cnnjax.doctor.facts import Facts, look
from cnnjax.doctor.faults import Fault, faults_of
from cnnjax.doctor.page import page
