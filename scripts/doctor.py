"""Check this machine: python scripts/doctor.py."""

import sys

from rednet.commands import doctor

if __name__ == "__main__":
    sys.exit(doctor())
