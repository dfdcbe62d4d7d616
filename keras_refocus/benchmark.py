"""Measure speed and memory on this machine.

    refocus benchmark restore --size 1280x720

What is measured is a module of its own, `benchmarks/<name>`, imported when it is asked for.
"""

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Sequence

from keras_refocus.system import extras

_SUBJECTS = {
    "restore": "a photo from array to array: seconds, megapixels per second, memory",
    "networks": "the generators: parameters, time, memory",
    "quality": "restorers and classical methods: dB gained, beside seconds and MB",
    "input": "training batches per second",
    "serving": "requests over gRPC: throughput and latency",
    "cloud": "jobs over stores beside files, batches, the start of a function",
    "page": "what a visitor of the web page waits for",
    "video": "clips: dB and steadiness beside per-frame restoration, frames in between",
    "motion": "frames out of one blurred picture, through a plain lens and a coded aperture",
    "live": "clips: frames a second live and by several jobs, memory by length",
}


@extras.says_what_is_missing
def main(argv: Sequence[str] | None = None) -> int | None:
    """Run one benchmark with the rest of the arguments."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    subjects = [name for name in _SUBJECTS if importlib.util.find_spec(_module(name))]
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = ["usage: refocus benchmark <what> [options]", "", "what:"]
        lines += [f"  {name:<10}{_SUBJECTS[name]}" for name in subjects]
        lines += ["", "example: refocus benchmark restore --size 1280x720"]
        print("\n".join(lines))
        return 0
    subject, *rest = arguments
    if subject not in subjects:
        near = difflib.get_close_matches(subject, subjects, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "see `refocus benchmark --help`."
        print(
            f"refocus benchmark: it must be one of {', '.join(subjects)}. "
            f"Received: '{subject}'; {hint}",
            file=sys.stderr,
        )
        return 2
    return importlib.import_module(_module(subject)).main(rest)


def _module(subject: str) -> str:
    return f"keras_refocus.benchmarks.{subject}"


if __name__ == "__main__":
    sys.exit(main())
