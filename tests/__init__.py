"""The tests run on several processes, and next to other programs: each process takes one thread for maths.

More threads than cores wait for each other in loops: fits took three times the CPU for the same result.
This stands here because it must be said before numpy is imported. What tests start inherits it.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
