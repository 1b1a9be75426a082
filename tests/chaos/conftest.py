import sys
from pathlib import Path

# What causes chaos is no part of the package, nor of what other tests share.
sys.path.insert(0, str(Path(__file__).parent))
