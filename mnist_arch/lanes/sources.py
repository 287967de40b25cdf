"""What a native library was built from: a digest of its sources, put in at compile time.

`setup.py` and the Makefile run this file by its path, so it imports nothing of the package:

    python mnist_arch/lanes/sources.py   # prints the digest
"""

from __future__ import annotations

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent / "native"


def digest(folder: Path = FOLDER) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of all C++ files, names and contents."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.suffix in (".h", ".cpp"):
            content = path.read_bytes()
            total.update(f"{path.name} {len(content)}\n".encode() + content)
    return total.hexdigest()[:16]


if __name__ == "__main__":
    print(digest())
