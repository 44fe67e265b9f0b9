"""A service with a canary, instrumented in two lines; a share of the canary's requests fails.

Usage: toy_service.py BAD_SHARE, with MLOPS_OBS_DISCOVERY_DIR set. Ends on SIGTERM.
"""

import signal
import sys
import time

from mlops_obs.lifecycle import instrument


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    bad_share = float(sys.argv[1])
    stable = instrument(service="credit-risk", revision="v1", stage="ingress")
    canary = instrument(service="credit-risk", revision="v3", stage="ingress")
    owed = 0.0
    while True:
        for telemetry, share in ((stable, 0.0), (canary, bad_share)):
            with telemetry.request() as request:
                owed += share
                if owed >= 1:
                    owed -= 1
                    request.error()
        time.sleep(0.02)


if __name__ == "__main__":
    main()
