"""Follows a folder of skew logs and an offline table while both grow, and exports what differs.

The trap: a scrape must not read the whole day again. Of each log only what was added since the last look is read, whole lines only, and
the table only when it was written anew; it may be replaced at any time, so a look that fails is told and the next one tries again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from mlops_obs.adapters.collector_config import read_config
from mlops_obs.adapters.skew_log import LOG_SUFFIX
from mlops_obs.adapters.skew_tables import read_offline
from mlops_obs.collectors.skew import Joiner, Settings, SkewWatch
from mlops_obs.collectors.skew.records import from_line
from mlops_obs.durations import parse_duration
from mlops_obs.errors import ObsError, PlatformError
from mlops_obs.metric_names import Reading

_AT_ONCE = 8_000_000  # bytes of a log read in one look; the next look reads on


class SkewUnavailable(PlatformError):
    """The logs or the offline table cannot be read; `reason` is the value of the label of the same name."""

    reason = "skew_log_unavailable"


class SkewConfig(BaseModel):
    """`collector.yaml` of the skew collector.

    `log` is the folder of the model servers' SkewLogs; `offline` the table that the recomputation writes, a new version of it in the
    same place; without it only what was read is compared with what the model was fed. Only `features` become label values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: str
    log: str
    offline: str | None = None
    features: tuple[str, ...] = Field(min_length=1, max_length=500)
    tolerated: float = 0.01
    false_findings: float = 0.01
    wait: str = "2d"


class SkewFollower:
    """A collector: `register_collector("skew", SkewFollower(config, folder).read)`.

    Args:
        config: what is compared.
        folder: relative paths of the configuration start here.
        clock: seconds that only rise.
        every: seconds between two looks; scrapes in between get the last answer.

    Raises:
        SpecError: OBS-SKW-004 or OBS-DUR-001 if the configuration is out of range.
    """

    def __init__(self, config: SkewConfig, folder: Path, clock: Callable[[], float] = time.monotonic, every: float = 10.0) -> None:
        settings = Settings(tolerated=config.tolerated, false_findings=config.false_findings)
        joiner = Joiner(capacity=100_000, max_age=float(parse_duration(config.wait)))
        self.watch = SkewWatch(config.service, config.features, settings, joiner=joiner)
        self._log = folder / config.log
        self._offline = folder / config.offline if config.offline else None
        self._read_to: dict[Path, int] = {}
        self._waiting: dict[str, None] = {}
        self._version: tuple[int, int] | None = None
        self._clock, self._every = clock, every
        self._next = float("-inf")

    def read(self) -> list[Reading]:
        """Return the readings.

        Raises:
            SkewUnavailable: OBS-SKW-010 if the folder or the table cannot be read.
        """
        now = self._clock()
        if now >= self._next:
            try:
                self.look()
            except OSError as error:
                raise SkewUnavailable(
                    "OBS-SKW-010", f"cannot be read: {error.strerror}", where=str(error.filename or self._log), todo="check path and rights"
                ) from error
            except ObsError as error:
                raise SkewUnavailable("OBS-SKW-010", str(error), todo="write the table again") from error
            self._next = now + self._every
        return self.watch.read()

    def look(self) -> None:
        """Read what is new. Raises OSError, SpecError or UsageError; what was read before is kept."""
        if not self._log.is_dir():
            raise FileNotFoundError(2, "no such folder", str(self._log))
        files = sorted(self._log.glob(f"*{LOG_SUFFIX}"))
        self._read_to = {file: at for file, at in self._read_to.items() if file in files}
        for file in files:
            self._follow(file)
        if self._offline is not None and self._offline.exists():
            state = self._offline.stat()
            version = (state.st_mtime_ns, state.st_size)
            if version != self._version:
                self._join(self._offline)
                self._version = version

    def _follow(self, file: Path) -> None:
        with file.open("rb") as stream:
            stream.seek(self._read_to.get(file, 0))
            content = stream.read(_AT_ONCE)
        whole = content.rfind(b"\n") + 1
        if not whole and len(content) == _AT_ONCE:
            whole = len(content)  # no line is that long: skip it
        for line in content[:whole].decode("utf-8", "replace").splitlines():
            record = from_line(line)
            if record is not None:
                self.watch.served(record)
                self._waiting[record.request_id] = None
        while len(self._waiting) > 100_000:
            del self._waiting[next(iter(self._waiting))]
        self._read_to[file] = self._read_to.get(file, 0) + whole

    def _join(self, table: Path) -> None:
        for one in read_offline(table, self._waiting.keys()):
            self.watch.recomputed(one)
            self._waiting.pop(one.request_id, None)


def load_config(path: Path) -> SkewConfig:
    """Read `collector.yaml`.

    Raises:
        UsageError: OBS-SKW-011 if there is no such file.
        SpecError: OBS-SKW-012 if it is not a configuration of the skew collector.
    """
    return read_config(path, SkewConfig, missing="OBS-SKW-011", wrong="OBS-SKW-012", example="collectors/skew/collector.yaml")
