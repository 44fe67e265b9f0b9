"""River's detectors on given streams; imports nothing of ours, so that an environment of its own runs it.

python streaming_river.py DETECTOR STREAMS.npy         prints [[rows of alarms of a stream], ...]
python streaming_river.py --series                     prints {name: {"values": [...], "annotations": [[rows], ...]}}
"""

import json
import sys

import numpy as np


def detector(name):
    from river import drift

    return {"ADWIN": drift.ADWIN, "KSWIN": lambda: drift.KSWIN(seed=1), "PageHinkley": drift.PageHinkley}[name]()


def series():
    from river.drift import datasets

    found = {}
    # the annotations of Apple are of every third row; those of BrentSpotPrice fit no sampling that we know, so it is left out
    for name, column, every in (
        ("Apple", "Close", 3),
        ("Bitcoin", "", 1),
        ("Occupancy", "V1", 1),
        ("RunLog", "Pace", 1),
        ("UKCoalEmploy", "", 1),
    ):
        data = getattr(datasets, name)()
        values = [float(y[column] if column else y) for _, y in data][::every]
        found[name] = {"values": values, "annotations": [list(map(int, rows)) for rows in data.annotations.values()]}
    return found


def main():
    if sys.argv[1] == "--series":
        print(json.dumps(series()))
        return
    alarms = []
    for stream in np.load(sys.argv[2]):
        one, found = detector(sys.argv[1]), []
        for row, value in enumerate(stream.tolist()):
            if np.isnan(value):
                break
            one.update(value)
            if one.drift_detected:
                found.append(row)
                one = detector(sys.argv[1])
        alarms.append(found)
    print(json.dumps(alarms))


if __name__ == "__main__":
    main()
