"""All tests: two processes side by side, because most tests wait for a server and not for the processor; then the whole demo alone.

The folders are parted so that nothing is shared: the API server is started by the second process only, Ray by the first only. The
demo comes last, for it keeps running while its tests look at it and would take the processor from all others. With
arguments this is plain pytest.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
SECOND = ("kubernetes", "monitoring", "paging", "rollout", "targets")
ALONE = ("stack",)
PYTEST = (sys.executable, "-m", "pytest")


def folders(*names: str) -> list[str]:
    """Return the paths of some test folders."""
    return [str(TESTS / name) for name in names]


def main() -> int:
    """Run what is asked for; 0 only if every test passed."""
    if sys.argv[1:]:
        return subprocess.call([*PYTEST, *sys.argv[1:]])
    first = sorted(path.name for path in TESTS.iterdir() if list(path.glob("test_*.py")) and path.name not in (*SECOND, *ALONE))
    print(f"in parallel: {', '.join(first)} | {', '.join(SECOND)}", flush=True)
    with tempfile.TemporaryFile() as said:
        beside = subprocess.Popen([*PYTEST, *folders(*SECOND)], stdout=said, stderr=subprocess.STDOUT)
        try:
            codes = [subprocess.call([*PYTEST, *folders(*first)]), beside.wait()]
        finally:
            if beside.poll() is None:  # Ctrl-C: pytest stops what its fixtures have started
                beside.terminate()
                beside.wait(60)
        said.seek(0)
        print(f"\n{', '.join(SECOND)}:\n{said.read().decode(errors='replace')}", flush=True)
    print("the whole demo:", flush=True)
    codes.append(subprocess.call([*PYTEST, *folders(*ALONE)]))
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
