"""`python -m algoperf_ref.data`: see `algoperf_ref.data.cli`."""

import sys

from algoperf_ref.data.cli import main

if __name__ == "__main__":
    sys.exit(main())
