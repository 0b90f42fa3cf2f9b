"""Where the frozen program begins."""

import sys

from app.cli.root import main

sys.exit(main())
