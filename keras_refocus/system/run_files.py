"""Names of the files in the folder of a training run, for all who read or write one.

What each of them holds is said in `training.run_folder`.
"""

RECORD, MANIFEST, STATE = "record.json", "manifest.txt", "state.weights.h5"
AVERAGED, BEST, LOG = "averaged.keras", "best.keras", "log.csv"
CURVES, SAMPLES, REPORT, TENSORBOARD = "curves.png", "samples", "report.md", "tensorboard"
LOCK = ".lock"
