"""Several processes, usually one a host, that train one experiment together.

`found` says from options or the environment which they are, `joined` makes them one program for JAX, and what they must
agree on (`agree`) goes through the first one: process 0 decides and writes, the others follow.
"""

from cnnjax.hosts.agree import check_alike, from_first, gathered, is_first, processes
from cnnjax.hosts.cue import Cues
from cnnjax.hosts.find import Hosts, found
from cnnjax.hosts.join import joined
