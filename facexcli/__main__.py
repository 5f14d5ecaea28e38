"""`python -m facexcli` is `facex`."""

import sys

from facexcli.cli.app import main

sys.exit(main())
