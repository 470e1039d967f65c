"""``python -m nucleigan``."""

import sys

from nucleigan.cli import main

sys.exit(main())
