"""Golden cases, one module per task; `golden_cases.GoldenCases` lists the names that each must define.

Tasks of other distributions bring theirs in a folder tests/contract/golden of their own on the path.
"""

import os
import sys

__path__ += [path for entry in sys.path if os.path.isdir(path := os.path.join(entry, "tests", "contract", "golden"))]
