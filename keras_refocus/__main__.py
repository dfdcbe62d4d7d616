"""The command `refocus`: hands each verb over to its module.

refocus restore photo.jpg --out restored/
"""

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Sequence

from keras_refocus.system import console

_VERBS = {
    "restore": "restore photos: files, folders, patterns",
    "video": "restore videos: sharper, steady, all else untouched",
    "unblur": "make a clip of what happened during one exposure",
    "watch": "restore what arrives in a folder or a store",
    "batch": "restore very many photos on Apache Beam",
    "demo": "open the web page on this machine",
    "serve": "serve the models over gRPC, as TensorFlow Serving does",
    "train": "train a network on your own photos or pairs",
    "evaluate": "measure a model on pairs or photos",
    "export": "write a trained network as a SavedModel",
    "import": "turn files of published weights into a model",
    "models": "list the installed models and their licences",
    "collect": "collect photos from Unsplash or from addresses",
    "curate": "choose, check and clean training pictures",
    "benchmark": "measure speed and memory on this machine",
}

_EXAMPLES = {
    "restore": "refocus restore photo.jpg --out restored/",
    "video": "refocus video clip.mp4 --out restored/",
    "unblur": "refocus unblur photo.jpg --frames 7 --out clip.mp4",
    "watch": "refocus watch incoming/ --out restored/",
    "batch": "refocus batch photos/ --out restored/ --workers 2",
    "demo": "refocus demo",
    "serve": "refocus serve --port 8500",
    "train": "refocus train restorer --photos my_photos/ --run runs/mine",
    "evaluate": "refocus evaluate restorer --pairs my_pairs/",
    "export": "refocus export runs/mine --out saved_models",
    "import": "refocus import DMPHN_1_2_4/ --out my_models --accept-licence",
    "models": "refocus models --models my_models",
    "collect": 'refocus collect unsplash "street at night" --count 300 --out photos/',
    "curate": "refocus curate my_photos/ --out chosen/",
    "benchmark": "refocus benchmark restore --size 1280x720",
}


# A module cannot have the name of a statement, or nobody could import it, nor that of a folder.
_MODULES = {"import": "import_weights", "video": "restore_video"}


def main(argv: Sequence[str] | None = None) -> int | None:
    """Run one verb with the rest of the arguments; returns its exit status."""
    console.claim_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    verbs = _installed()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help(verbs))
        return 0
    if arguments[0] == "--version":
        import keras_refocus

        print(f"refocus {keras_refocus.__version__}")
        return 0
    verb, *rest = arguments
    if verb not in verbs:
        near = difflib.get_close_matches(verb, verbs, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "see `refocus --help`."
        print(
            f"refocus: the verb must be one of {', '.join(verbs)}. Received: '{verb}'; {hint}",
            file=sys.stderr,
        )
        return 2
    return importlib.import_module(_module(verb)).main(rest)


def _installed() -> list[str]:
    return [verb for verb in _VERBS if importlib.util.find_spec(_module(verb))]


def _module(verb: str) -> str:
    return f"keras_refocus.{_MODULES.get(verb, verb)}"


def _help(verbs: list[str]) -> str:
    lines = ["usage: refocus <verb> [options]", "", "Restores photographs.", "", "verbs:"]
    lines += [f"  {verb:<11}{_VERBS[verb]}" for verb in verbs]
    lines += ["", "examples:"]
    lines += [f"  {_EXAMPLES[verb]}" for verb in verbs]
    lines += ["", "`refocus <verb> --help` lists the options of a verb, `refocus --version` the"]
    lines += ["version."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
