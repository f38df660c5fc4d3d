"""How fast the library is: one module a question, each a command of its own.

``python -m benchmarks`` runs all and writes RESULTS.md; ``python -m benchmarks.evaluation`` runs
one and prints its part. Ratios are taken between runs that alternate within one process, or between
processes that alternate, because machines are noisy; the numbers are medians
(the backbone's: of the least disturbed process).
"""

import upm_lib  # noqa: F401  (before torch: it says how threads wait)
